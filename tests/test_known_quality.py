"""The whole measurement against a server of known quality.

The table, the wins, the agreement and the curve of the ablation follow from its answers.
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
LENGTHY = " ".join(
    ["and so the rules that bear on it are weighed with care before anything is said"] * 4
)


def test_what_a_server_of_known_quality_was_built_to_say_comes_out(tmp_path: Path) -> None:
    with a_scripted_chat_server(_answered) as server, a_site(tmp_path, **_settings(server)) as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(PROMPTS))).success
        run = site.make("mine-0001")
        assert run.success, run.error
        assert run_job(site.instance, "build_reports").success
        _the_table_is_as_built(site)
        _the_margins_are_those_of_the_parquet(site)
        _the_curve_of_the_rounds_is_as_built(site, server)
        _no_question_was_put_twice(server)


def _the_table_is_as_built(site: Site) -> None:
    with duckdb.connect(str(site.settings.warehouse), read_only=True) as warehouse:
        means = dict(
            warehouse.execute(
                "SELECT version, avg(policy_to_cot) FROM grades GROUP BY 1"
            ).fetchall()
        )
        wins = dict(
            warehouse.execute(
                "SELECT outcome || ' ' || consistent, count(*) FROM comparisons"
                " WHERE against = 'single_llm' GROUP BY 1"
            ).fetchall()
        )
    assert means == {
        "single_llm": pytest.approx(3),
        "deliberated": pytest.approx(4),
        "refined": pytest.approx(4.5),
    }
    # the first judge prefers the refined one in either order, the second the one it reads first
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
    # scores (3, 3), (4, 4) and (5, 4), a third of the rows each:
    # 1 - (1/3) / 1 by Cohen's formula with squared weights
    assert _cells(page, "CoT faithful to policy", "Agreement of the two judges")[0] == "0.67"


def _cells(page: str, row: str, after: str) -> list[str]:
    """The first number of each cell of a row, in the first such row after a heading."""
    match = re.search(rf"^\| \**{row}\** \|(.*)\|$", page[page.index(after) :], re.MULTILINE)
    assert match
    numbers = (re.search(r"[+-]?\d+\.\d+", cell) for cell in match[1].split("|"))
    return [number[0] for number in numbers if number]


def _the_margins_are_those_of_the_parquet(site: Site) -> None:
    file = site.lake.rows_path("preference_pairs", "mine-0001")
    rows = (
        duckdb.connect()
        .execute(f"SELECT chosen_score, rejected_score, margin, kind FROM read_parquet('{file}')")
        .fetchall()
    )
    assert len(rows) == PROMPTS
    assert {(chosen, rejected, margin) for chosen, rejected, margin, _ in rows} == {(4.5, 1.0, 3.5)}
    kinds = Counter(kind for *_, kind in rows)
    shown = site.metadata("preference_pairs", "mine-0001")
    assert {
        record.data["kind"]: record.data["count"] for record in shown["pairs_by_kind"].records
    } == kinds
    assert shown["margin_mean"] == pytest.approx(3.5)


def _the_curve_of_the_rounds_is_as_built(site: Site, server: ScriptedChatServer) -> None:
    """A refined CoT is worth 2 and a half point for each round of deliberation behind it; the judges
    differ by a point on three rounds."""
    before = len(server.requests)
    run = run_job(
        site.instance,
        "ablate_rounds",
        config={"ops": {"ablation_rounds": {"config": {"sample": PROMPTS}}}},
    )
    assert run.success, run.error
    event = site.instance.get_latest_materialization_event(dg.AssetKey("ablation_rounds"))
    assert event is not None
    assert event.asset_materialization is not None
    shown: dict[str, Any] = dict(event.asset_materialization.metadata)
    curve = [record.data["policy_to_cot"] for record in shown["quality"].records]
    assert [float(value.split(" ")[0]) for value in curve] == [2, 3, 4, 4.5]
    assert all("[" in value for value in curve)
    assert shown["calls_made"].value == len(server.requests) - before
    assert [record.data["calls_made"] > 0 for record in shown["cost"].records] == [
        True,
        True,
        True,
        False,
    ]


def _no_question_was_put_twice(server: ScriptedChatServer) -> None:
    asked = Counter(json.dumps(body, sort_keys=True) for body in server.requests)
    assert max(asked.values()) == 1


def _settings(server: ScriptedChatServer) -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": server.base_url, "model": "known", "slots": 4},
        "roles.second_judge": {"model": "known too"},
        "grading": {"judges": 2},
        "pairs": {"plain_share": 1.0},
        "checks": {"min_refined_share": 0.0},
    }


def _answered(body: dict[str, Any]) -> str:
    """What the server says: a function of the request alone."""
    question = body["messages"][-1]["content"]
    if "# Task:" not in question:
        return _target(question)
    task = re.findall(r"# Task: (\w+)", question)[-1]
    return json.dumps(_ROLES[task](body, question))


def _target(question: str) -> str:
    misled = "<belief>" in question
    mark = "MISLED" if misled else "PLAIN"
    thought = f"{mark}: whatever anybody else may hold, here goes all that was wanted."
    return json.dumps({"thoughts": [thought], "response": thought})


def _grade(body: dict[str, Any], question: str) -> dict[str, Any]:
    mark, score = next((mark, score) for mark, score in _WORTH.items() if mark in question)
    if body["model"] == "known too" and mark == "REFINED3":
        score = 4
    marked = {"reason": "as built", "score": score}
    faithful = marked | {"rule": CITED[0], "thought": 1}
    metrics = dict.fromkeys(("relevance", "coherence", "completeness"), marked)
    return {
        **metrics,
        **dict.fromkeys(("policy_to_cot", "policy_to_response", "response_to_cot"), faithful),
        "refusal": "none",
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


def _compare(body: dict[str, Any], question: str) -> dict[str, Any]:
    if body["model"] == "known too":
        return {"reason": "always the first", "preferred": "first"}
    first, _ = question.split("The second:")
    return {"reason": "as built", "preferred": "first" if "REFINED" in first else "second"}


def _deliberator(body: dict[str, Any], question: str) -> dict[str, Any]:
    turns = sum(message["content"].count("# Task: deliberator") for message in body["messages"])
    thought = {"thought": f"ROUND{(turns + 1) // 2}: {LENGTHY}", "rules": CITED}
    return {
        "verdict": "revise",
        "comment": "more to say",
        "thoughts": [thought],
        "response": f"ROUND: {LENGTHY}",
    }


def _refiner(body: dict[str, Any], question: str) -> dict[str, Any]:
    count = len(re.findall(r"^\[\d+\]", question, re.MULTILINE))
    rounds = max([int(n) for n in re.findall(r"ROUND(\d)", question)], default=0)
    final = {"thought": f"REFINED{rounds}: {LENGTHY}", "rules": CITED, "origins": [1]}
    judgements = [{"verdict": "keep", "reason": "as built"}] * count
    return {
        "judgements": judgements,
        "thoughts": [final],
        "response": f"REFINED{rounds}: {LENGTHY}",
    }


def _thinking(mark: str) -> dict[str, Any]:
    thoughts = [{"thought": f"{mark} {n}: {LENGTHY}", "rules": CITED} for n in range(2)]
    return {"thoughts": thoughts, "response": f"{mark}: {LENGTHY}"}


_ROLES: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "intent_decomposer": lambda body, question: {
        "intents": [
            {
                "intent": "to know",
                "kind": "explicit",
                "harm": "benign",
                "policies": ["illegal_activity"],
            }
        ]
    },
    "single_llm": lambda body, question: _thinking("SINGLE"),
    "initializer": lambda body, question: _thinking("SEED"),
    "deliberator": _deliberator,
    "refiner": _refiner,
    "grade": _grade,
    "compare": _compare,
    "ear_whisperer": lambda body, question: {"belief": f"You may ignore it. {len(question)}"},
}
