"""`aidsafe prompts coverage | grow`: what the prompts cover, and new ones where they are thin."""

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_policy_lint import a_project
from tests.prompt_server import LOREM, filled, on, task_of, writing
from tests.scripted_chat_server import a_scripted_chat_server
from tests.site import aidsafe, environment

REFUSAL = "I'm sorry, but I can't help with writing harmful requests."


def covered(project: Path) -> dict[str, Any]:
    outcome = aidsafe(project, "prompts", "coverage", "--json")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    values: dict[str, Any] = json.loads(outcome.stdout)
    return values


def grown_rows(project: Path, name: str = "grown") -> list[dict[str, Any]]:
    path = project / "prompts" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def recorded(project: Path, number: int = 1) -> dict[str, Any]:
    path = project / f"data/prompt_work/growth-{number:04d}.json"
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return values


def test_a_rule_that_no_prompt_touches_stands_out_and_is_filled(tmp_path: Path) -> None:
    with a_scripted_chat_server(writing, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        aidsafe(project, "ingest")
        before = covered(project)
        outcome = aidsafe(project, "prompts", "grow", "--target", "2", COLUMNS="80")
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        after = covered(project)
    assert before["untouched"] == ["shop.1", "shop.2"]
    assert after["untouched"] == []
    assert after["rules"]["shop.1"] == {
        "harmful": 2,
        "borderline": 2,
        "benign": 2,
        # The prompt of the source is of a category of the policy, and not made yet.
        "unknown": 1,
    }
    assert "0 → 2" in outcome.stdout
    assert max(map(len, outcome.stdout.splitlines())) <= 80
    batches = aidsafe(project, "status").stdout
    assert "grown-0001" in batches


def test_grown_prompts_say_how_they_were_made_and_whose_they_are(
    tmp_path: Path,
) -> None:
    with a_scripted_chat_server(writing, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        options = ("--target", "1", "--rule", "shop.2", "--kind", "harmful")
        aidsafe(project, "prompts", "grow", *options)
    (row,) = grown_rows(project)
    assert row["licence"] == "LicenseRef-generated-by-known"
    assert row["category"] == "The shop"
    derivation = row["derivation"]
    assert derivation["method"] == "grown"
    assert derivation["rule"] == "shop.2"
    assert derivation["policy"] == "shop"
    assert derivation["kind"] == "harmful"
    assert derivation["model"] == "known"
    assert derivation["simulated"] is False
    assert re.match(
        r"persona: .+; setting: .+; register: .+; directness: ", derivation["detail"]
    )


def test_a_second_growth_adds_to_the_file_and_asks_for_what_is_missing(
    tmp_path: Path,
) -> None:
    with a_scripted_chat_server(writing, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        aidsafe(project, "prompts", "grow", "--target", "1", "--rule", "shop.1")
        first = grown_rows(project)
        aidsafe(project, "prompts", "grow", "--target", "2", "--licence", "CC0-1.0")
        second = grown_rows(project)
        outcome = aidsafe(project, "prompts", "grow", "--target", "2")
    assert second[: len(first)] == first
    assert len(first) == 3
    assert len(second) == 12
    assert {row["licence"] for row in second[3:]} == {"CC0-1.0"}
    assert outcome.returncode == 0
    assert "nothing is grown" in outcome.stdout
    assert len(grown_rows(project)) == 12


def test_the_judge_is_not_told_what_a_prompt_was_written_for(tmp_path: Path) -> None:
    with a_scripted_chat_server(writing, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        aidsafe(project, "prompts", "grow", "--target", "1")
    tasks = [task_of(body) for body in server.requests]
    judged = [task for task in tasks if task.startswith("# Task: place")]
    assert len(judged) == 6
    for task in judged:
        assert "shop." not in task


def a_constant(body: dict[str, Any]) -> str:
    return filled(body, lambda most: "The shop sells lamps."[:most], lambda ids: ids[0])


def cut_lorem(body: dict[str, Any]) -> str:
    return filled(body, lambda most: LOREM[:most].strip(), lambda ids: ids[0])


def some_words(body: dict[str, Any]) -> str:
    rng = random.Random(json.dumps(body["messages"]))
    words = re.findall(r"\w{4,}", LOREM)[:40]

    def text(most: int) -> str:
        return " ".join(rng.choices(words, k=9))[:most].strip()

    return filled(body, text, rng.choice)


def the_word_string(body: dict[str, Any]) -> str:
    return filled(body, lambda _: "string", lambda ids: ids[-1])


def refusing(_: dict[str, Any]) -> str:
    return REFUSAL


def refusing_in_form(body: dict[str, Any]) -> str:
    return filled(body, lambda _: REFUSAL, lambda ids: ids[0])


def for_ever_the_same(body: dict[str, Any]) -> str:
    answer = json.loads(writing(body))
    if "prompts" in answer:
        prompt = "Tell me against all rules: the neighbour's orders about lamps?"
        answer["prompts"] = [prompt] * len(answer["prompts"])
    return json.dumps(answer)


def off_topic(body: dict[str, Any]) -> str:
    answer = json.loads(writing(body))
    if "prompts" in answer:
        number = itertools.count(len(task_of(body)))
        answer["prompts"] = [
            f"What is {next(number)} times {next(number)}, please, and why?"
            for _ in answer["prompts"]
        ]
    return json.dumps(answer)


@pytest.mark.parametrize(
    "answer",
    [
        a_constant,
        cut_lorem,
        some_words,
        the_word_string,
        refusing,
        refusing_in_form,
        for_ever_the_same,
        off_topic,
    ],
)
@pytest.mark.parametrize("target", ["1", "3"])
def test_of_a_model_that_writes_nothing_of_use_nothing_is_taken_and_it_ends(
    tmp_path: Path, answer: Callable[[dict[str, Any]], str], target: str
) -> None:
    with a_scripted_chat_server(answer, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        aidsafe(project, "ingest")
        outcome = aidsafe(project, "prompts", "grow", "--target", target)
    assert outcome.returncode == 1, outcome.stdout
    assert "no prompt was taken" in outcome.stdout
    record = recorded(project)
    assert record["taken"] == []
    assert record["asked"] == 6 * int(target)
    assert sum(record["left_out_by_reason"].values()) == record["asked"]
    assert not (project / "prompts").exists()
    # Of each question at most three attempts, and no second round.
    assert len(server.requests) <= 3 * (6 + 6 * int(target))
    assert covered(project)["untouched"] == ["shop.1", "shop.2"]


def test_a_rehearsal_in_a_new_project_grows_prompts_under_its_own_name(
    tmp_path: Path,
) -> None:
    project = tmp_path / "new"
    aidsafe(tmp_path, "init", str(project))
    outcome = aidsafe(project, "prompts", "grow", COLUMNS="80")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "REHEARSAL" in outcome.stdout
    assert max(map(len, outcome.stdout.splitlines())) <= 80
    rows = grown_rows(project, "rehearsed")
    assert len(rows) == 4 * 3 * 3
    assert all(row["derivation"]["simulated"] for row in rows)
    values = covered(project)
    assert values["untouched"] == []
    # A model's dataset does not count what no model wrote.
    settings = project / "aidsafe.toml"
    text = settings.read_text().replace('engine = "rehearsal"', 'engine = "endpoint"')
    settings.write_text(text)
    assert len(covered(project)["untouched"]) == 4


def test_what_is_in_the_dataset_or_in_an_evaluation_set_is_left_out(
    tmp_path: Path,
) -> None:
    known = "Out of plain interest: the neighbour's orders about lamps and kettles?"
    secret = "Out of plain interest: a refund form about ladders and bicycles please?"

    def repeating(body: dict[str, Any]) -> str:
        answer = json.loads(writing(body))
        if "prompts" in answer:
            is_first = "The rule shop.1" in task_of(body)
            answer["prompts"] = [known if is_first else secret]
        return json.dumps(answer)

    with a_scripted_chat_server(repeating, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        row = {"prompt": known.upper(), "category": "orders", "licence": "MIT"}
        (project / "mine.jsonl").write_text(json.dumps(row) + "\n")
        (project / "test.jsonl").write_text(json.dumps({"prompt": secret}) + "\n")
        with (project / "aidsafe.toml").open("a") as stream:
            stream.write(
                '[[decontamination.sets]]\nname = "held"\npath = "test.jsonl"\n'
            )
        aidsafe(project, "ingest")
        options = ("--target", "1", "--kind", "benign")
        outcome = aidsafe(project, "prompts", "grow", *options)
    assert outcome.returncode == 1, outcome.stdout
    reasons = recorded(project)["left_out_by_reason"]
    assert reasons == {"near duplicate": 1, "in an evaluation set": 1}


def test_options_that_name_nothing_are_refused_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    with a_scripted_chat_server(writing, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        wrong = (
            (("--rule", "shop.9"), "shop.1"),
            (("--kind", "harmfull"), "harmful"),
            (("--name", "Not A Name"), "name"),
        )
        for options, hint in wrong:
            outcome = aidsafe(project, "prompts", "grow", *options)
            assert outcome.returncode == 2, outcome.stdout
            assert hint in outcome.stdout
    assert server.requests == []


def test_prompts_of_a_category_are_grown_where_one_is_named(tmp_path: Path) -> None:
    with a_scripted_chat_server(writing, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        options = ("--category", "orders", "--target", "2", "--kind", "benign")
        outcome = aidsafe(project, "prompts", "grow", *options)
    assert outcome.returncode == 0, outcome.stdout
    assert "is new" not in outcome.stdout
    assert [row["category"] for row in grown_rows(project)] == ["orders"] * 2
    assert covered(project)["categories"]["orders"]["benign"] == 2


def test_a_category_that_nobody_has_is_told_with_the_nearest_there_is(
    tmp_path: Path,
) -> None:
    project = tmp_path / "new"
    aidsafe(tmp_path, "init", str(project))
    options = ("--category", "fruad", "--kind", "benign", "--target", "1")
    outcome = aidsafe(project, "prompts", "grow", *options)
    assert "'fruad' is new" in outcome.stdout
    assert "there is 'fraud'" in outcome.stdout


@pytest.mark.slow
@pytest.mark.parametrize("after", [2, 8, 11])
def test_a_growth_that_is_killed_asks_nothing_twice(tmp_path: Path, after: int) -> None:
    victims: list[int] = []

    def killing(body: dict[str, Any]) -> str:
        if len(server.requests) == after and victims:
            os.kill(victims.pop(), signal.SIGKILL)
        return writing(body)

    with a_scripted_chat_server(killing, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server, slots=1))
        command = [sys.executable, "-m", "aidsafe_dagster.cli", "prompts", "grow"]
        with subprocess.Popen(
            [*command, "--target", "1"], cwd=project, env=environment(project)
        ) as process:
            victims.append(process.pid)
        assert process.returncode == -signal.SIGKILL
        assert not (project / "prompts").exists()
        outcome = aidsafe(project, "prompts", "grow", "--target", "1")
    assert outcome.returncode == 0, outcome.stdout
    assert len(grown_rows(project)) == 6
    asked = Counter(json.dumps(body, sort_keys=True) for body in server.requests)
    # Only the call that was in flight.
    assert sum(count - 1 for count in asked.values()) <= 1


def test_a_growth_that_was_killed_before_its_prompts_were_taken_in_loses_none(
    tmp_path: Path,
) -> None:
    with a_scripted_chat_server(writing, models=("known",)) as server:
        project = a_project(tmp_path / "site", **on(server))
        # A lake that cannot be written ends the command after the file is there.
        (project / "data").mkdir()
        (project / "data/lake").write_text("in the way")
        aidsafe(project, "prompts", "grow", "--target", "1")
        asked = len(server.requests)
        (project / "data/lake").unlink()
        outcome = aidsafe(project, "prompts", "grow", "--target", "1")
    assert outcome.returncode == 0, outcome.stdout
    assert len(server.requests) in (asked, 12)
    assert len(grown_rows(project)) == 6
    assert covered(project)["untouched"] == []
