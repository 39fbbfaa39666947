"""The whole measurement against a server of known quality.

The table, the wins, the agreement and the ablation's curve are settled by how the server answers.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from aidsafe_dagster.cli.local_runs import run_job
from tests.scripted_chat_server import ScriptedChatServer, a_scripted_chat_server
from tests.site import Site, a_site, prompts_file, some_prompts

PROMPTS = 12
CITED = ["respect_and_helpfulness.1", "illegal_activity.1"]
_CLAUSES = (
    "and so the rules that bear on it are weighed with care before anything is said",
    "while what the writer may be after is read from the words and from nothing else",
    "which leaves room for help wherever no person could come to any harm through it",
    "so that in the end one plain answer stands there with its reason right beside it",
    "although much that sounds alike at first turns out to be a different case altogether",
    "because somebody who asks in good faith deserves more than a list of open doubts",
    "unless the thing itself is what hurts, when a short refusal says all there is to say",
    "and whoever reads along should be able to follow each step without a second look",
)
LENGTHY = " ".join(_CLAUSES[:4])


def _lengthy(start: int) -> str:
    """Return text of about one length: four clauses from one on, in a circle."""
    return " ".join((_CLAUSES * 2)[start : start + 4])


def test_the_quality_that_a_server_was_built_with_comes_out(tmp_path: Path) -> None:
    with (
        a_scripted_chat_server(_answer) as server,
        a_site(tmp_path, **_settings(server)) as site,
    ):
        assert site.ingest(prompts_file(site.folder, some_prompts(PROMPTS))).success
        run = site.make("mine-0001")
        assert run.success, run.error
        assert run_job(site.instance, "build_reports").success
        _check_table(site)
        _check_margins(site)
        _check_rounds(site, server)
        _check_that_no_question_was_put_twice(server)


MEAN_SCORES = "SELECT version, avg(policy_to_cot) FROM grades GROUP BY 1"
OUTCOMES = """
    SELECT outcome || ' ' || consistent, count(*)
    FROM comparisons WHERE against = 'single_llm' GROUP BY 1
"""


def _check_table(site: Site) -> None:
    with duckdb.connect(str(site.settings.warehouse), read_only=True) as warehouse:
        means = dict(warehouse.execute(MEAN_SCORES).fetchall())
        wins = dict(warehouse.execute(OUTCOMES).fetchall())
    assert means == {
        "single_llm": pytest.approx(3),
        "deliberated": pytest.approx(4),
        "refined": pytest.approx(4.5),
    }
    # The first judge finds the refined one better in either order. The second one always prefers
    # what it is shown first.
    assert wins == {"win true": PROMPTS, "tie false": PROMPTS}
    page = (site.settings.reports / "quality_report.md").read_text()
    assert _cells(page, "CoT faithful to policy", "paper's table") == [
        "3.00",
        "4.00",
        "4.50",
        "+1.50",
        "+0.50",
        "3.85",
        "4.27",
    ]
    # Scores (3, 3), (4, 4) and (5, 4), a third of the rows each: 1 - (1/3) / 1 by Cohen's formula
    # with squared weights.
    agreement = _cells(page, "CoT faithful to policy", "Agreement of the two judges")
    assert agreement[0] == "0.67"


def _cells(page: str, row: str, after: str) -> list[str]:
    """Return the first number of each cell of a row, the first such row after a heading."""
    line = re.search(
        rf"^\| \**{row}\** \|(.*)\|$", page[page.index(after) :], re.MULTILINE
    )
    assert line
    numbers = (re.search(r"[+-]?\d+\.\d+", cell) for cell in line[1].split("|"))
    return [number[0] for number in numbers if number]


def _check_margins(site: Site) -> None:
    file = site.lake.rows_path("preference_pairs", "mine-0001")
    query = (
        f"SELECT chosen_score, rejected_score, margin, kind FROM read_parquet('{file}')"
    )
    rows = duckdb.connect().execute(query).fetchall()
    assert len(rows) == PROMPTS
    assert {tuple(scores) for *scores, _ in rows} == {(4.5, 1.0, 3.5)}
    kinds = Counter(kind for *_, kind in rows)
    metadata = site.metadata("preference_pairs", "mine-0001")
    records = metadata["pairs_by_kind"].records
    assert {record.data["kind"]: record.data["count"] for record in records} == kinds
    assert metadata["margin_mean"] == pytest.approx(3.5)


def _check_rounds(site: Site, server: ScriptedChatServer) -> None:
    """A refined CoT scores 2 and a point more for each round; judges differ on three rounds."""
    before = len(server.requests)
    config = {"ops": {"ablation_rounds": {"config": {"sample": PROMPTS}}}}
    run = run_job(site.instance, "ablate_rounds", config=config)
    assert run.success, run.error
    event = site.instance.get_latest_materialization_event(
        dg.AssetKey("ablation_rounds")
    )
    assert event is not None
    assert event.asset_materialization is not None
    metadata: dict[str, Any] = dict(event.asset_materialization.metadata)
    scores = metadata["scores_over_all_prompts"].records
    curve = [record.data["CoT faithful to policy"] for record in scores]
    assert [float(value.split(" ")[0]) for value in curve] == [2, 3, 4, 4.5]
    assert all("[" in value for value in curve)
    assert metadata["calls_made"].value == len(server.requests) - before
    # The last variant is the pipeline's own, whose calls are in the journal.
    made = [record.data["calls_made"] > 0 for record in metadata["calls"].records]
    assert made == [True, True, True, False]


def _check_that_no_question_was_put_twice(server: ScriptedChatServer) -> None:
    requests = Counter(json.dumps(body, sort_keys=True) for body in server.requests)
    assert max(requests.values()) == 1


def _settings(server: ScriptedChatServer) -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": server.base_url, "model": "known", "slots": 4},
        "roles.second_judge": {"model": "known too"},
        "grading": {"judges": 2},
        "pairs": {"plain_share": 1.0},
        "checks": {"min_refined_share": 0.0},
    }


def _answer(body: dict[str, Any]) -> str:
    """Return the server's answer, a function of the request alone."""
    message = body["messages"][-1]["content"]
    if "# Task:" not in message:
        return _target(message)
    task = re.findall(r"# Task: (\w+)", message)[-1]
    return json.dumps(_ROLES[task](body, message))


BAD_ROWS = {
    "Question 1:": "policy_to_response",
    "Question 2:": "response_to_cot",
    "Question 3:": "no grade",
    "Question 4:": "placeholder",
    "Question 5:": "policy_to_response",
}
"""What is wrong with the row of a prompt that begins so. All others are good."""


def test_the_bad_rows_of_a_server_never_reach_a_split(tmp_path: Path) -> None:
    with (
        a_scripted_chat_server(_answer_badly) as server,
        a_site(tmp_path, **(_settings(server) | {"checks": _LENIENT})) as site,
    ):
        assert site.ingest(prompts_file(site.folder, some_prompts(PROMPTS))).success
        run = site.make("mine-0001")
        assert run.success, run.error
        assert run_job(site.instance, "build_reports").success
        _check_rows_left(site)
        _check_floors(site)


# Only so that the batch goes on, with as many bad rows as it has.
_LENIENT = {"min_refined_share": 0.0, "max_failure_share": 0.5}


def _check_rows_left(site: Site) -> None:
    rows = site.lake.rows("fine_tune_splits", "mine-0001")
    assert Counter(rows["kind"]) == {"sft": 7, "dpo": 7}
    for messages, prompt in rows.select("messages", "prompt").iter_rows():
        question = (messages or prompt)[0]["content"]
        assert _fault(question) == ""
    missed = Counter(site.lake.failures("fine_tune_splits", "mine-0001")["detail"])
    assert missed == {
        "sft: policy_to_response 3.00, 4 is due": 2,
        "sft: response_to_cot 3.50, 4 is due": 1,
        "sft: no valid grade": 1,
        # The pairs of the others are not even made: their chosen side has a floor of its own.
        "dpo: response_to_cot 3.50, 4 is due": 1,
    }


def _check_floors(site: Site) -> None:
    table = site.metadata("fine_tune_splits", "mine-0001")["rows_taken_by_floors"]
    taken = {record.data["metric"]: record.data for record in table.records}
    assert taken["policy_to_response"]["sft_rows"] == 2
    assert taken["response_to_cot"]["dpo_rows"] == 1
    assert taken["no valid grade"]["sft_rows"] == 1
    for report in ("quality_report.md", "splits.md"):
        page = (site.settings.reports / report).read_text()
        lines = page[page.index("Rows that the floors took") :].splitlines()
        (line,) = [line for line in lines if line.startswith("| any of them")]
        assert re.findall(r"\d+", line) == ["4", "1"]


def _fault(text: str) -> str:
    for beginning, fault in BAD_ROWS.items():
        if beginning in text:
            return fault
    return ""


def _answer_badly(body: dict[str, Any]) -> str:
    """Answer as `_answer` does, but for the rows that are to be bad."""
    answer = _answer(body)
    fault = _fault(json.dumps(body["messages"]))
    message = body["messages"][-1]["content"]
    task = (re.findall(r"# Task: (\w+)", message) or [""])[-1]
    if fault == "placeholder" and task == "refiner":
        return json.dumps(json.loads(answer) | {"response": "<response>"})
    is_graded = task == "grade" and "REFINED" in message
    if not is_graded or not fault:
        return answer
    if fault == "no grade":
        return "I would rather not."
    grades = json.loads(answer)
    # The second judge is milder, and the mean of both counts.
    lowest = 2 if fault == "policy_to_response" else 3
    grades[fault]["score"] = 4 if body["model"] == "known too" else lowest
    return json.dumps(grades)


def _target(message: str) -> str:
    mark = "MISLED" if "<belief>" in message else "PLAIN"
    thought = f"{mark}: whatever anybody else may hold, here goes all that was wanted."
    return f"<think>\n{thought}\n</think>\n\n{thought}"


def _grade(body: dict[str, Any], message: str) -> dict[str, Any]:
    mark, score = next(
        (mark, score) for mark, score in _WORTH.items() if mark in message
    )
    if body["model"] == "known too" and mark == "REFINED3":
        score = 4
    marked = {"reason": "as built", "score": score}
    faithful = marked | {"rule": CITED[0], "thought": 1}
    metrics = dict.fromkeys(("relevance", "coherence", "completeness"), marked)
    return {
        **metrics,
        **dict.fromkeys(
            ("policy_to_cot", "policy_to_response", "response_to_cot"), faithful
        ),
        # Misled, it neither answers nor refuses altogether: fit for either kind of pair.
        "refusal": "partial" if mark == "MISLED" else "none",
    }


_WORTH = {
    "MISLED": 1,
    "PLAIN": 4,
    "SINGLE": 3,
    "REFINED0": 2,
    "REFINED1": 3,
    "REFINED2": 4,
    "REFINED3": 5,
    "ROUND": 4,
}


def _compare(body: dict[str, Any], message: str) -> dict[str, Any]:
    if body["model"] == "known too":
        return {"reason": "always the first", "preferred": "first"}
    first, _ = message.split("The second:")
    return {
        "reason": "as built",
        "preferred": "first" if "REFINED" in first else "second",
    }


def _deliberator(body: dict[str, Any], message: str) -> dict[str, Any]:
    agent, round_ = re.findall(r"# Task: deliberator (\d) .* round (\d) of", message)[
        -1
    ]
    # No two turns say the same.
    text = _lengthy((2 * int(round_) + int(agent)) % len(_CLAUSES))
    thought = {"thought": f"ROUND{round_}: {text}", "rules": CITED}
    return {
        "verdict": "revise",
        "comment": "more to say",
        "thoughts": [thought],
        "response": f"ROUND: {LENGTHY}",
    }


def _refiner(body: dict[str, Any], message: str) -> dict[str, Any]:
    count = len(re.findall(r"^\[\d+[:\]]", message, re.MULTILINE))
    rounds = max([int(n) for n in re.findall(r"ROUND(\d)", message)], default=0)
    final = {"thought": f"REFINED{rounds}: {LENGTHY}", "rules": CITED, "origins": [1]}
    judgements = [{"verdict": "keep", "reason": "as built"}] * count
    return {
        "judgements": judgements,
        "thoughts": [final],
        "response": f"REFINED{rounds}: {LENGTHY}",
    }


def _thinking(mark: str) -> dict[str, Any]:
    texts = (f"{mark} 0: {LENGTHY}", f"{mark} 1: {_lengthy(4)}")
    thoughts = [{"thought": text, "rules": CITED} for text in texts]
    return {"thoughts": thoughts, "response": f"{mark}: {LENGTHY}"}


_ROLES: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "intent_decomposer": lambda body, message: {
        "intents": [
            {
                "intent": "to know",
                "kind": "explicit",
                "harm": "benign",
                "policies": ["illegal_activity"],
            }
        ]
    },
    "single_llm": lambda body, message: _thinking("SINGLE"),
    "initializer": lambda body, message: _thinking("SEED"),
    "deliberator": _deliberator,
    "refiner": _refiner,
    "grade": _grade,
    "compare": _compare,
    "ear_whisperer": lambda body, message: {
        "belief": f"You may ignore it. {len(message)}"
    },
}
