"""`aidsafe try`: cards as prompts are done, before and after, and watching."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.primitives.stop_signals import WHAT_IS_SAFE
from aidsafe_dagster.settings.schema import PACKAGE
from tests.serving import LENIENT, ModelServer, a_free_port, a_model_server
from tests.site import (
    NO_FAULTS,
    aidsafe,
    aidsafe_process,
    environment,
    prepare,
    prompts_file,
    some_prompts,
)

WITHIN_S = 60.0
"""Generous: for what a watch prints after an edit."""


def a_project(folder: Path, **settings: Any) -> Path:
    """Prepare a project with policies and templates of its own; return its file of prompts."""
    for name in ("policies", "prompts"):
        target = folder / name
        target.mkdir()
        for file in (PACKAGE / name).rglob("*"):
            place = target / file.relative_to(PACKAGE / name)
            if file.is_dir():
                place.mkdir()
            elif file.suffix in (".toml", ".jinja"):
                place.write_text(file.read_text("utf-8"), "utf-8")
    values = {"policies": "policies", "prompts": "prompts", "rehearsal": NO_FAULTS}
    prepare(folder, **{**values, **settings})
    return Path(prompts_file(folder, some_prompts(2))["path"])


def on_a_server(server: ModelServer) -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": server.base_url, "model": "fake-model"},
        "checks": LENIENT,
    }


def test_a_card_shows_a_prompt_from_its_intents_to_its_pair(tmp_path: Path) -> None:
    file = a_project(tmp_path)
    outcome = aidsafe(tmp_path, "try", str(file), "--no-gates", COLUMNS="80")
    assert outcome.returncode == 0, outcome.stderr
    # A path is not broken, so that it can be copied.
    lines = [line for line in outcome.stdout.splitlines() if str(file) not in line]
    assert max(map(len, lines)) <= 80
    text = " ".join(outcome.stdout.split())
    assert some_prompts(1)[0] in text
    for part in ("Intents", "Thoughts", "initializer, round 0", "✓ kept", "Final",
                 "Response", "Scores", "relevance", "Pair", "margin", "rejected",
                 "Cost", "2 of 2", "Tried 2 prompts", "REHEARSAL", "Kept in"):  # fmt: skip
        assert part in text, part


def test_a_prompt_can_be_given_as_text(tmp_path: Path) -> None:
    prepare(tmp_path, rehearsal=NO_FAULTS)
    outcome = aidsafe(tmp_path, "try", "--prompt", "Why is rain wet?", "--no-gates")
    assert "Why is rain wet?" in outcome.stdout
    assert "1 of 1" in outcome.stdout


def test_what_would_close_a_gate_is_told_with_a_word_on_small_samples(
    tmp_path: Path,
) -> None:
    file = a_project(tmp_path, checks={"min_rows": 3})
    outcome = aidsafe(tmp_path, "try", str(file))
    assert outcome.returncode == 0
    assert "refined_cots: integrity would close: rows: expected at least 3" in (
        outcome.stdout
    )
    assert "one prompt is 50% of it" in outcome.stdout


def test_a_prompt_that_fails_shows_why_and_the_answer_that_failed(
    tmp_path: Path,
) -> None:
    file = a_project(tmp_path, rehearsal={**NO_FAULTS, "unparsable": 1.0})
    outcome = aidsafe(tmp_path, "try", str(file), "--no-gates")
    assert "✗ seed_cots, unparsable" in outcome.stdout
    assert "The answer that failed" in outcome.stdout
    # All of them did.
    assert outcome.returncode == 1


def test_what_models_and_users_write_is_no_markup_and_moves_no_cursor(
    tmp_path: Path,
) -> None:
    prepare(tmp_path, rehearsal=NO_FAULTS)
    prompt = "Why [bold]is[/bold] [/nothing] \x1b[2J rain wet?"
    outcome = aidsafe(tmp_path, "try", "--prompt", prompt, "--no-gates")
    assert outcome.returncode == 0, outcome.stderr
    assert "Why [bold]is[/bold] [/nothing] \\x1b[2J rain wet?" in outcome.stdout
    assert "\x1b" not in outcome.stdout


def test_json_is_a_line_per_prompt_and_a_summary(tmp_path: Path) -> None:
    file = a_project(tmp_path)
    outcome = aidsafe(tmp_path, "try", str(file), "--json", "--no-gates")
    *prompts, summary = map(json.loads, outcome.stdout.splitlines())
    assert [one["type"] for one in prompts] == ["prompt", "prompt"]
    assert {one["prompt"]["prompt"] for one in prompts} == set(some_prompts(2))
    assert "preference_pairs" in prompts[0]["rows"]
    assert summary["type"] == "summary"
    assert summary["simulated"] is True
    assert summary["new_usage"]["calls"] == sum(
        one["new_usage"]["calls"] for one in prompts
    )


def test_before_and_after_of_a_changed_setting_stand_word_by_word(
    tmp_path: Path,
) -> None:
    file = a_project(tmp_path)
    aidsafe(tmp_path, "try", str(file), "--no-gates")
    settings = tmp_path / "aidsafe.toml"
    changed = settings.read_text().replace("deceptive = 0.0", "deceptive = 1.0")
    settings.write_text(changed)
    # Without a file, the prompts are those of the earlier tryout.
    outcome = aidsafe(tmp_path, "try", "--against", "last", "--no-gates")
    assert outcome.returncode == 0, outcome.stderr
    assert "Trying 2 prompts: those of" in outcome.stdout
    assert "rehearsal.deceptive: 0.0 → 1.0" in outcome.stdout
    assert "Before and after, 2 prompts in both" in outcome.stdout
    assert "mean policy score" in outcome.stdout
    assert re.search(r"\[-.*-\]", outcome.stdout)
    assert re.search(r"\{\+.*\+\}", outcome.stdout)


def test_a_changed_template_stands_word_by_word(tmp_path: Path) -> None:
    file = a_project(tmp_path)
    aidsafe(tmp_path, "try", str(file), "--no-gates")
    template = tmp_path / "prompts/refined_cots/refiner.jinja"
    first, _, rest = template.read_text("utf-8").partition(" ")
    template.write_text(f"{first} ZEPPELIN {rest}", "utf-8")
    arguments = ("try", "--against", "last", "--no-gates")
    outcome = aidsafe(tmp_path, *arguments)
    assert "refined_cots/refiner changed" in outcome.stdout
    assert "template refined_cots/refiner: " in outcome.stdout
    assert "{+ZEPPELIN+}" in outcome.stdout
    again = aidsafe(tmp_path, *arguments)
    assert "ZEPPELIN" not in again.stdout


def test_other_policies_are_tried_on_the_same_prompts_to_compare_with(
    tmp_path: Path,
) -> None:
    file = a_project(tmp_path)
    (tmp_path / "other").mkdir()
    for policy in (tmp_path / "policies").glob("*.toml"):
        text = policy.read_text("utf-8").replace("Be courteous", "Be polite")
        (tmp_path / "other" / policy.name).write_text(text, "utf-8")
    arguments = ("try", str(file), "--against", "other", "--no-gates")
    outcome = aidsafe(tmp_path, *arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert "Changed since: policies: respect_and_helpfulness changed" in outcome.stdout


def test_another_projects_settings_can_be_compared_with(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    file = a_project(mine)
    prepare(other, rehearsal=NO_FAULTS, deliberation={"max_rounds": 1})
    outcome = aidsafe(mine, "try", str(file), "--against", str(other), "--no-gates")
    assert outcome.returncode == 0, outcome.stderr
    assert "Changed since: deliberation.max_rounds: 1 → 3" in outcome.stdout
    assert not (other / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--against", "last"), "there is no earlier tryout"),
        (("--against", "nowhere"), "nor one with policies"),
        (("nofile.csv",), "there is no such file"),
        (("--prompt", " "), "blank"),
        (("nofile.csv", "--prompt", "Why?"), "not both"),
        (("--prompt-column", "question"), "about a file"),
    ],
)
def test_bad_input_is_an_error_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    prepare(tmp_path, rehearsal=NO_FAULTS)
    outcome = aidsafe(tmp_path, "try", *arguments)
    assert outcome.returncode == 2
    assert words in outcome.stdout
    assert "Traceback" not in outcome.stdout + outcome.stderr


def test_a_server_that_is_away_is_told_at_once_in_its_own_words(
    tmp_path: Path,
) -> None:
    url = f"http://127.0.0.1:{a_free_port()}/v1"
    prepare(tmp_path, engine="endpoint", endpoint={"base_url": url, "model": "m"})
    outcome = aidsafe(tmp_path, "try", "-n", "1")
    assert outcome.returncode == 2
    assert "refuses the connection" in outcome.stdout


def test_a_second_try_on_a_real_server_asks_only_what_a_changed_template_changes(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path) as server:
        file = a_project(tmp_path, **on_a_server(server))
        assert aidsafe(tmp_path, "try", str(file), "--no-gates").returncode == 0
        before = len(server.log())
        _append(tmp_path / "prompts" / "refined_cots" / "refiner.jinja", "\nBe brief.")
        assert aidsafe(tmp_path, "try", str(file), "--no-gates").returncode == 0
        asked = {entry["rule"] for entry in server.log()[before:]}
    assert "refiner" in asked
    assert asked.isdisjoint({"intent_decomposer", "initializer", "deliberator"})


@contextmanager
def watching(folder: Path, file: Path) -> Iterator["Watch"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "aidsafe_dagster.cli", "try", str(file), "--watch",
         "--no-gates"],
        cwd=folder,
        env=environment(folder, PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        yield Watch(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Watch:
    """A watch that runs, and the lines that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self.lines.append(line.rstrip())
        except ValueError:
            # It was closed with the process.
            return

    def wait_for(self, words: str, after: int = 0) -> int:
        """Wait for a line with these words; return the number of the line after it."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            for number, line in enumerate(self.lines[after:], start=after):
                if words in line:
                    return number + 1
            time.sleep(0.05)
        raise AssertionError(f"no line with {words!r} in {self.lines[after:]}")


def _append(file: Path, text: str) -> None:
    file.write_text(file.read_text("utf-8") + text, "utf-8")


def test_a_watch_runs_again_when_something_is_saved_and_asks_only_what_changed(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path) as server:
        file = a_project(tmp_path, **on_a_server(server))
        with watching(tmp_path, file) as watch:
            seen = watch.wait_for("Waiting for a change")
            asked = len(server.log())

            template = tmp_path / "prompts" / "refined_cots" / "refiner.jinja"
            _append(template, "\nBe brief.")
            seen = watch.wait_for(
                "Changed: template refined_cots/refiner changed", seen
            )
            seen = watch.wait_for("Waiting for a change", seen)
            rules = [entry["rule"] for entry in server.log()[asked:]]
            assert rules.count("refiner") == 2
            assert set(rules).isdisjoint({"initializer", "deliberator", "single_llm"})

            policy = tmp_path / "policies" / "illegal_activity.toml"
            whole = policy.read_text("utf-8")
            policy.write_text(whole[: len(whole) // 2], "utf-8")
            seen = watch.wait_for("Waiting until this is mended", seen)
            assert "illegal_activity.toml" in watch.lines[seen - 1]
            policy.write_text(whole.replace("Do not", "Never"), "utf-8")
            seen = watch.wait_for("Mended.", seen)
            seen = watch.wait_for("Changed: policies: illegal_activity changed", seen)
            watch.wait_for("Waiting for a change", seen)


def test_a_watch_tells_in_one_line_which_prompts_came_out_as_before(
    tmp_path: Path,
) -> None:
    file = a_project(tmp_path)
    with watching(tmp_path, file) as watch:
        seen = watch.wait_for("Waiting for a change")
        # No text depends on it.
        _append(tmp_path / "aidsafe.toml", "[report]\n")
        _append(tmp_path / "aidsafe.toml", "[checks]\nmin_rows = 2\n")
        seen = watch.wait_for("Changed: checks.min_rows: 1 → 2", seen)
        seen = watch.wait_for("none in intents, thoughts", seen)
        watch.wait_for("no new calls", seen)


def test_ctrl_c_ends_it_with_one_line(tmp_path: Path) -> None:
    file = a_project(tmp_path, rehearsal={**NO_FAULTS, "seconds_per_call": 30.0})
    process = subprocess.Popen(
        [sys.executable, "-m", "aidsafe_dagster.cli", "try", str(file)],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Trying 2 prompts" in line:
            break
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert rest.splitlines() == [f"Stopped by SIGINT. {WHAT_IS_SAFE}"]


def test_it_runs_without_dagster(tmp_path: Path) -> None:
    prepare(tmp_path, rehearsal=NO_FAULTS)
    outcome = aidsafe_process(tmp_path, "try", "-n", "1", "--no-gates")
    assert outcome.returncode == 0, outcome.stdout
    assert not (tmp_path / "data" / "dagster").exists()
