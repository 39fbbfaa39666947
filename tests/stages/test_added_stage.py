"""A stage added from outside goes through the whole pipeline like one of ours."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.recipe.stages import STAGES, StageDefinition, add_stage
from aidsafe_dagster.settings.schema import PACKAGE
from tests.scripted_chat_server import a_scripted_chat_server
from tests.site import environment, prepare, prompts_file, some_prompts

TEMPLATE = """Say in one sentence what these thoughts come to.
<user_prompt>
{{ prompt|fenced }}
</user_prompt>
<thoughts>
{{ thoughts|fenced }}
</thoughts>
"""


def gist(body: dict[str, Any]) -> str:
    """Say nothing about one prompt, which the row check of the stage refuses."""
    says_nothing = "reader 3" in body["messages"][-1]["content"]
    return json.dumps({"gist": " " if says_nothing else "It comes to this."})


def test_an_entry_a_module_a_template_and_an_asset_make_a_stage(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE / "prompts", tmp_path / "prompts")
    (tmp_path / "prompts" / "gists").mkdir()
    (tmp_path / "prompts" / "gists" / "gist.jinja").write_text(TEMPLATE)
    with a_scripted_chat_server(gist) as server:
        moderator = {"base_url": server.base_url, "model": "small"}
        prepare(tmp_path, prompts="prompts", **{"roles.moderator": moderator})
        source = prompts_file(tmp_path, some_prompts(8))
        result = subprocess.run(
            [sys.executable, "-m", "tests.stages.run_added_stage", source["path"]],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert result.returncode == 0, result.stderr[-3000:]
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["gate"] == "gists mine-0001: passed"
    assert report["failures"] == [["null_text", "blank gist"]]
    assert {text for _, text in report["rows"]} == {"It comes to this."}
    assert len(report["rows"]) == report["refined"] - 1
    assert len(server.requests) == report["refined"]
    assert "It comes to this." in report["transcript"]


def test_a_stage_that_reads_an_unknown_one_is_refused() -> None:
    with pytest.raises(SetupError, match="Did you mean 'refined_cots'"):
        add_stage(
            StageDefinition(name="gists", record=Prompt, upstream=("refined_cot",))
        )
    assert "gists" not in STAGES


def test_a_name_cannot_be_taken_twice() -> None:
    with pytest.raises(SetupError, match="'seed_cots' already"):
        add_stage(StageDefinition(name="seed_cots", record=Prompt))
