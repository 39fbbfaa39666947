"""Before an adapter is asked, its server has to list it; vLLM may be asked to load it."""

from pathlib import Path

import pytest

from tests.generations.sites import a_loop_site, a_server
from tests.site import aidsafe

pytestmark = pytest.mark.timeout(900)


def test_a_server_without_the_adapter_stops_the_generation_with_what_to_do(
    tmp_path: Path,
) -> None:
    with (
        a_server(tmp_path / "server") as server,
        a_loop_site(tmp_path / "site", server) as site,
    ):
        first = aidsafe(site.folder, "generation", "run", "--yes")
        assert first.returncode == 0, first.stdout + first.stderr
        server.control(reset=True)
        second = aidsafe(site.folder, "generation", "run", "--yes")
        assert second.returncode == 2, second.stdout
        assert "not 'g1-dpo'" in second.stdout
        assert "--lora-modules g1-dpo=" in second.stdout
        assert server.stats()["requests"] == 0
        # Once it is served, under whatever name, the same command goes on.
        server.control(server={"adapters": ["mine"]})
        third = aidsafe(
            site.folder,
            "generation",
            "run",
            "--yes",
            AIDSAFE_GENERATION__SERVED_AS="mine",
        )
        assert third.returncode == 0, third.stdout + third.stderr
        assert "mine@" in third.stdout


def test_a_generation_without_prompts_says_to_ingest_some(tmp_path: Path) -> None:
    with (
        a_server(tmp_path / "server") as server,
        a_loop_site(tmp_path / "site", server) as site,
    ):
        other = tmp_path / "other"
        other.mkdir()
        for name in ("aidsafe.toml", "dagster.yaml", "workspace.yaml"):
            (other / name).write_text((site.folder / name).read_text())
        done = aidsafe(other, "generation", "run", "--yes")
        assert done.returncode == 2
        assert "`aidsafe ingest` takes them in" in done.stdout


def test_a_later_generation_waits_for_the_one_before(tmp_path: Path) -> None:
    with (
        a_server(tmp_path / "server") as server,
        a_loop_site(tmp_path / "site", server) as site,
    ):
        done = aidsafe(site.folder, "generation", "run", "2", "--yes")
        assert done.returncode == 2
        assert "`aidsafe generation run 1` comes first" in done.stdout
        compared = aidsafe(site.folder, "generation", "compare")
        assert compared.returncode == 2
        assert "no two generations" in compared.stdout
