"""The package's face in Python: `try_prompts`, `load_settings`, `open_lake`."""

import asyncio
import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import aidsafe_dagster
from aidsafe_dagster import load_settings, open_lake, try_prompts
from aidsafe_dagster.recipe.errors import EngineUnusable, SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.tryout.redraws import is_asked_again
from aidsafe_dagster.tryout.store import KEPT, load
from tests.serving import LENIENT, a_free_port, a_model_server
from tests.site import NO_FAULTS, ROOT, environment, prepare, prompts_file, some_prompts

MADE = (
    Stage.SINGLE_LLM_COTS,
    Stage.SEED_COTS,
    Stage.DELIBERATED_COTS,
    Stage.REFINED_COTS,
    Stage.COT_GRADES,
    Stage.PREFERENCE_PAIRS,
)


def settings_in(folder: Path, **values: Any) -> Settings:
    values = {"rehearsal": NO_FAULTS, **values}
    prepare(folder, **values)
    return load_settings(folder, {}).settings


def test_every_stage_that_a_model_makes_has_a_row_for_each_prompt(
    tmp_path: Path,
) -> None:
    tryout = try_prompts(some_prompts(2), settings_in(tmp_path))
    assert {stage: len(tryout.rows(stage)) for stage in MADE} == dict.fromkeys(MADE, 2)
    assert tryout.failures == ()
    assert "REHEARSAL" in repr(tryout)
    assert "REHEARSAL" in tryout._repr_html_()


def test_the_same_prompts_tried_again_ask_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    first = try_prompts(some_prompts(2), settings)
    again = try_prompts(some_prompts(2), settings)
    assert first.new_usage.calls > 0
    assert again.new_usage.calls == 0
    assert again.replayed == first.new_usage.calls
    assert again.rows(Stage.PREFERENCE_PAIRS) == first.rows(Stage.PREFERENCE_PAIRS)


def test_what_is_asked_about_a_prompt_does_not_depend_on_the_others(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path)
    try_prompts(some_prompts(1), settings)
    both = try_prompts(some_prompts(2), settings)
    assert both.prompts[0].spent.new.calls == 0
    assert both.prompts[1].spent.new.calls > 0


def test_it_works_where_an_event_loop_is_running_as_in_a_notebook(
    tmp_path: Path,
) -> None:
    async def cell() -> int:
        return len(try_prompts("Why is the sky blue?", settings_in(tmp_path)).prompts)

    assert asyncio.run(cell()) == 1


def test_each_prompt_is_told_as_soon_as_it_is_done(tmp_path: Path) -> None:
    done: list[str] = []
    tryout = try_prompts(
        some_prompts(3),
        settings_in(tmp_path),
        on_done=lambda tried: done.append(tried.prompt.prompt_id),
    )
    assert sorted(done) == sorted(one.prompt.prompt_id for one in tryout.prompts)


def test_a_file_of_prompts_gives_its_first_ones(tmp_path: Path) -> None:
    source = prompts_file(tmp_path, some_prompts(4))
    tryout = try_prompts(Path(source["path"]), settings_in(tmp_path), limit=2)
    assert [one.prompt.prompt for one in tryout.prompts] == some_prompts(2)


def test_the_table_has_a_row_per_prompt_and_that_of_a_stage_its_columns(
    tmp_path: Path,
) -> None:
    tryout = try_prompts(some_prompts(2), settings_in(tmp_path))
    frame = tryout.to_frame()
    assert frame["prompt"].to_list() == some_prompts(2)
    assert frame["policy_score"].dtype == pl.Float64
    assert "judgements" in tryout.to_frame(Stage.REFINED_COTS).columns
    with pytest.raises(SetupError, match="Did you mean 'refined_cots'"):
        tryout.to_frame("refined_cot")


def test_a_row_that_fails_is_data_and_the_others_go_on(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, rehearsal={**NO_FAULTS, "unparsable": 1.0})
    tryout = try_prompts(some_prompts(2), settings)
    assert all(one.is_failed for one in tryout.prompts)
    assert {one.reason for one in tryout.failures} == {"unparsable"}
    assert tryout.to_frame()["failed_at"].is_null().sum() == 0


def test_what_failed_on_an_answer_is_asked_again_and_nothing_else(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path, rehearsal={**NO_FAULTS, "unparsable": 0.1})
    prompts = some_prompts(6)
    tryout = try_prompts(prompts, settings)
    failed = {one.prompt_id for one in tryout.failures if is_asked_again(one)}
    assert 0 < len(failed) < len(prompts)
    again = try_prompts(prompts, settings)
    for one in again.prompts:
        is_asked = one.spent.new.calls > 0
        assert is_asked == (one.prompt.prompt_id in failed)
    # Until everything came out; then nothing is left to ask.
    while any(map(is_asked_again, again.failures)):
        again = try_prompts(prompts, settings)
        assert again.new_usage.calls
    assert try_prompts(prompts, settings).new_usage.calls == 0


def test_what_a_gate_would_hold_back_is_not_asked_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, checks={"max_cot_tokens": 5})
    first = try_prompts(some_prompts(2), settings)
    assert all(one.held_back for one in first.prompts)
    assert try_prompts(some_prompts(2), settings).new_usage.calls == 0


def test_a_row_that_a_run_would_hold_back_goes_on_and_says_so(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, checks={"max_cot_tokens": 5})
    (tried,) = try_prompts(some_prompts(1), settings).prompts
    assert tried.refined is not None
    assert tried.stopped_at == Stage.SEED_COTS
    assert tried.held_back[Stage.SEED_COTS].reason == "cot_too_long"


def test_gates_are_told_and_close_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, checks={"min_rows": 3})
    tryout = try_prompts(some_prompts(2), settings, gates=True)
    closed = [one for one in tryout.suites if not one.passed and one.closes]
    assert Stage.REFINED_COTS in {one.stage for one in closed}
    assert len(tryout.rows(Stage.PREFERENCE_PAIRS)) == 2


def test_a_tryout_that_is_kept_reads_back_as_it_was(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    tryout = try_prompts(some_prompts(2), settings)
    assert tryout.folder is not None
    assert load(tryout.folder) == tryout


def test_only_the_latest_tryouts_are_kept(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    for _ in range(KEPT + 2):
        latest = try_prompts("Why is the sky blue?", settings)
    folders = list((settings.home / "tryouts").glob("*/tryout.json"))
    assert len(folders) == KEPT
    assert latest.folder in {file.parent for file in folders}


def test_the_lake_of_a_tryout_is_read_like_any_other(tmp_path: Path) -> None:
    tryout = try_prompts(some_prompts(2), settings_in(tmp_path))
    assert tryout.folder is not None
    lake = open_lake(tryout.folder / "lake")
    assert lake.tables[:2] == [Stage.PROMPTS, Stage.SINGLE_LLM_COTS]
    assert lake.rows(Stage.REFINED_COTS, columns=["response"]).height == 2
    assert lake.failures().height == 0
    assert "refined_cots (1 batch)" in repr(lake)
    with pytest.raises(SetupError, match="Did you mean 'cot_grades'"):
        lake.rows("cot_grade")


def test_the_projects_own_data_stay_as_they_are(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    try_prompts(some_prompts(1), settings)
    assert [path.name for path in settings.home.iterdir()] == ["tryouts"]


@pytest.mark.parametrize("prompts", [[], [" "], ["x" * 30_000], ["\udc80"]])
def test_a_prompt_that_is_none_is_an_error(tmp_path: Path, prompts: list[str]) -> None:
    with pytest.raises(SetupError, match="prompt"):
        try_prompts(prompts, settings_in(tmp_path))


def test_a_policy_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "mine.toml").write_text("id = ")
    settings = settings_in(tmp_path, policies=str(policies))
    with pytest.raises(SetupError, match=r"mine\.toml"):
        try_prompts("Why is the sky blue?", settings)


def endpoint(base_url: str) -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": base_url, "model": "fake-model"},
        "checks": LENIENT,
    }


def test_a_real_server_is_asked_over_http_and_only_once(tmp_path: Path) -> None:
    with a_model_server(tmp_path) as server:
        settings = settings_in(tmp_path, **endpoint(server.base_url))
        first = try_prompts(some_prompts(2), settings)
        asked = len(server.log())
        again = try_prompts(some_prompts(2), settings)
        assert len(server.log()) == asked
    assert not first.facts.simulated
    assert len(first.rows(Stage.PREFERENCE_PAIRS)) == 2
    assert again.new_usage.calls == 0
    assert first.new_usage.completion_tokens > 0


def test_a_server_that_is_away_ends_it_at_once_in_plain_words(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{a_free_port()}/v1"
    settings = settings_in(tmp_path, **endpoint(url))
    with pytest.raises(EngineUnusable, match="refuses the connection"):
        try_prompts("Why is the sky blue?", settings)


def test_importing_the_package_imports_nothing_of_it() -> None:
    program = (
        "import sys, aidsafe_dagster; assert dir(aidsafe_dagster); "
        "assert not [m for m in sys.modules if m.startswith('aidsafe_dagster.')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_a_tryout_imports_no_dagster(tmp_path: Path) -> None:
    prepare(tmp_path)
    program = (
        "import sys; from aidsafe_dagster import try_prompts\n"
        "try_prompts('Why is the sky blue?', gates=True)\n"
        "assert 'dagster' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=tmp_path,
        env=environment(tmp_path),
        timeout=120,
    )


def test_the_package_offers_what_it_says_and_nothing_else() -> None:
    assert aidsafe_dagster.__all__ == ["load_settings", "open_lake", "try_prompts"]
    with pytest.raises(AttributeError, match="try_prompt"):
        _ = aidsafe_dagster.try_prompt


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    prepare(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 1
    names: dict[str, Any] = {}
    with chdir(tmp_path):
        for block in blocks:
            exec(block, names)


def test_prompts_tried_outside_any_project_come_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with pytest.warns(UserWarning, match="no project in .*aidsafe init DIR"):
        try_prompts("Why is the sky blue?", keep=False)
