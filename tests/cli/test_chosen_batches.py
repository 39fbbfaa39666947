"""`--batch` and `--source` choose what a command is about."""

from pathlib import Path

import pytest

from aidsafe_dagster.cli.chosen_batches import choose_batches
from aidsafe_dagster.recipe.errors import SetupError
from tests.site import a_site, aidsafe, prompts_file, some_prompts

KNOWN = ["mine-0001", "mine-0002", "my-own-0001"]


def test_nothing_named_means_all() -> None:
    assert choose_batches(KNOWN, None, None, "export") == ()


def test_batches_and_sources_add_up_each_once() -> None:
    chosen = choose_batches(KNOWN, ["my-own-0001", "mine-0002"], ["mine"], "export")
    assert chosen == ("my-own-0001", "mine-0002", "mine-0001")


@pytest.mark.parametrize(
    ("batches", "sources", "nearest"),
    [(["mine-0003"], [], "'mine-0002'|'mine-0001'"), ([], ["mie"], "'mine'")],
)
def test_what_is_not_there_is_refused_with_the_nearest(
    batches: list[str], sources: list[str], nearest: str
) -> None:
    with pytest.raises(SetupError, match=f"Did you mean ({nearest})"):
        choose_batches(KNOWN, batches, sources, "export")


def test_a_backfill_and_an_export_are_about_the_source_that_is_named(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        prompts = some_prompts(4)
        assert site.ingest(prompts_file(tmp_path, prompts[:2], "one")).success
        assert site.ingest(prompts_file(tmp_path, prompts[2:], "two")).success
        done = aidsafe(tmp_path, "backfill", "--source", "one", "--yes")
        assert done.returncode == 0, done.stdout
        assert "✓ one-0001" in done.stdout
        assert "✓ two-0001" not in done.stdout
        # The other one is not finished.
        assert "1 batch run, 0 were finished before." in done.stdout
        options = ("--out", "out", "--allow-simulated")
        refused = aidsafe(tmp_path, "export", "--batch", "two-0001", *options)
        assert refused.returncode == 2
        assert "one-0001" not in refused.stdout
        assert aidsafe(tmp_path, "export", "--source", "one", *options).returncode == 0
