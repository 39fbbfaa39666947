"""What a run that failed says, where no step of it had begun."""

from pathlib import Path

import pytest

from tests.site import a_site, prompts_file, some_prompts


def test_a_run_whose_settings_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_site(tmp_path) as site:
        monkeypatch.setenv("AIDSAFE_SETTINGS", str(tmp_path / "gone.toml"))
        run = site.ingest(prompts_file(tmp_path, some_prompts(3)))
        assert not run.success
        assert "gone.toml: No such file" in run.error
