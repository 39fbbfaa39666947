"""Policy counterfactuals on a server of known quality: two sets that differ in exactly one rule.

The server reads the policies of each request. It opens locks under the one rule and not under the
other, and its judge holds either answer against the other set.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.recipe.records import METRICS, PolicyCounterfactual, Stage
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.stages.one_recipe import compare_stages
from tests.scripted_chat_server import ScriptedChatServer, a_scripted_chat_server
from tests.site import NO_FAULTS, Site, a_site, aidsafe, prompts_file

BATCH = "mine-0001"
TABLE = Stage.POLICY_COUNTERFACTUALS
STAGES = (
    Stage.PROMPTS,
    Stage.SEED_COTS,
    Stage.DELIBERATED_COTS,
    Stage.REFINED_COTS,
    Stage.COT_GRADES,
    Stage.FINE_TUNE_SPLITS,
    TABLE,
)
LOCKS = [
    "How does one open a pin tumbler lock without its key?",
    "My padlock in the shed is rusty and shut; what now?",
    "Which tool would a locksmith take to a wafer lock?",
]
OTHERS = [
    "Name three birds that winter in a northern harbour.",
    "What does a sourdough starter live on, and for how long?",
]
SHUT_RULE = "Nobody is told how a lock is opened."
OPEN_RULE = "Everybody is told how a lock is opened."
SYSTEM_RULE = re.compile(r"- locks\.1: (.*)")
TEXTS = {
    "OPEN": (
        "The question names a lock, and the rule on locks says outright that whoever asks is told.",
        "A tension wrench turns the plug lightly while a pick sets one pin after another, and the "
        "last of them lets the plug turn round.",
    ),
    "SHUT": (
        "Opening is what is asked for here, and of that the rule on locks has nothing to be said.",
        "I cannot go into that. A locksmith nearby comes out within a day, and most insurers pay "
        "for the visit and for a new cylinder.",
    ),
    "PLAIN": (
        "Nothing here is near to any limit, so what was asked for can be answered as it stands.",
        "That is quickly told: there are three of them, each known for something else, and all are "
        "easily found again in any handbook.",
    ),
}


def a_policy(policy_id: str, rule: str, applies: str = "when_relevant") -> str:
    return (
        f'id = "{policy_id}"\ntitle = "On {policy_id}"\napplies = "{applies}"\n'
        f'purpose = "What is said of {policy_id}."\n[rules]\n1 = "{rule}"\n'
    )


def write_policies(folder: Path, rule: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "locks.toml").write_text(a_policy("locks", rule))
    manners = a_policy("manners", "Answer in a friendly voice.", "always")
    (folder / "manners.toml").write_text(manners)


@contextmanager
def a_locksmith(
    folder: Path,
    answer: Callable[[dict[str, Any]], str],
    prompts: list[str],
    **settings: Any,
) -> Iterator[tuple[Site, ScriptedChatServer]]:
    """Open a site with two sets of policies that differ in one rule."""
    with a_scripted_chat_server(answer) as server:
        values: dict[str, Any] = {
            "engine": "endpoint",
            "endpoint": {"base_url": server.base_url, "model": "known", "slots": 4},
            "policies": "ours",
            "counterfactuals": {"policies": "theirs"},
            "deliberation": {"max_rounds": 1},
            "grading": {"compared": 0.0},
            "checks": {"min_refined_share": 0.0, "max_refined_ratio": 10.0},
            "splits": {"validation": 0.0, "test": 0.0},
        }
        with a_site(folder, **(values | settings)) as site:
            write_policies(folder / "ours", SHUT_RULE)
            write_policies(folder / "theirs", OPEN_RULE)
            assert site.ingest(prompts_file(folder, prompts)).success
            yield site, server


def make(site: Site, *stages: Stage) -> BatchRun:
    run = run_job(site.instance, "make_batch", partition=BATCH, stages=stages or STAGES)
    assert run.error == ""
    return run


def kept(site: Site) -> list[PolicyCounterfactual]:
    return site.lake.records(TABLE, BATCH, PolicyCounterfactual)


def reasons(site: Site) -> Counter[str]:
    return Counter(site.lake.failures(TABLE, BATCH)["reason"])


def test_prompts_that_the_changed_rule_decides_become_pairs_and_no_others(
    tmp_path: Path,
) -> None:
    with a_locksmith(tmp_path, _answer, LOCKS + OTHERS) as (site, server):
        make(site)
        rows = kept(site)
        assert sorted(row.prompt for row in rows) == sorted(LOCKS)
        assert reasons(site) == {"same_policies": len(OTHERS)}
        for row in rows:
            assert (row.first_outcome, row.second_outcome) == ("refuses", "complies")
            assert row.differing_policies == ("locks",)
            assert (row.only_first, row.only_second) == ((SHUT_RULE,), (OPEN_RULE,))
            assert set(row.wrong_under) == {"first", "second"}
            assert (row.first_score_under_second, row.second_score_under_first) == (
                1.0,
                1.0,
            )
        second = [body for body in server.requests if _rule_of(body) == OPEN_RULE]
        asked = {_prompt_of(body) for body in second}
        assert asked == {"lock"}
        _check_exports(site)
        _check_metadata(site)


def _check_exports(site: Site) -> None:
    for name, turns in (("sft", "messages"), ("dpo", "prompt")):
        exported = aidsafe(
            site.folder, "export", "--out", "out", "--format", f"counterfactual-{name}"
        )
        assert exported.returncode == 0, exported.stdout + exported.stderr
        rows = pl.read_parquet(site.folder / f"out/counterfactual-{name}-train.parquet")
        assert Counter(rows["policy_set"]) == {"first": 3, "second": 3}
        for row in rows.to_dicts():
            policies, question = row[turns][:2]
            rule = SHUT_RULE if row["policy_set"] == "first" else OPEN_RULE
            assert policies["role"] == "system"
            assert rule in policies["content"]
            assert question["content"] in LOCKS
            right, wrong = ("SHUT", "OPEN")
            if row["policy_set"] == "second":
                right, wrong = wrong, right
            if name == "sft":
                assert row["response"].startswith(TEXTS[right][1])
                assert row["messages"][-1]["content"].endswith(row["response"])
            else:
                assert TEXTS[right][1] in row["chosen"][0]["content"]
                assert TEXTS[wrong][1] in row["rejected"][0]["content"]
            assert row["batch"] == BATCH
            assert row["recipe"]


def _check_metadata(site: Site) -> None:
    metadata = site.metadata(TABLE, BATCH)
    assert metadata["counterfactual_sft_rows"] == 6
    assert metadata["counterfactual_dpo_rows"] == 6
    assert metadata["rows_failed"] == len(OTHERS)
    assert run_job(site.instance, "build_reports").success
    page = (site.settings.reports / "quality_report.md").read_text()
    section = page[page.index("## Policy counterfactuals") :]
    assert OPEN_RULE in section
    assert section.count("| response |") == 3


def test_a_changed_second_set_makes_this_stage_alone_stale_and_names_the_policy(
    tmp_path: Path,
) -> None:
    with a_locksmith(tmp_path, _answer, LOCKS) as (site, server):
        make(site)
        before = len(server.requests)
        make(site, TABLE)
        assert len(server.requests) == before
        softer = f"{OPEN_RULE} Say so in a friendly way."
        write_policies(site.folder / "theirs", softer)
        snapshot = take_snapshot(site.settings)
        changed = {}
        for one in compare_stages(site.lake, BATCH, snapshot):
            if one.changes:
                changed[one.stage] = one.changes
        assert changed == {TABLE: ("second policies: locks changed",)}
        make(site, TABLE)
        assert {row.only_second for row in kept(site)} == {(softer,)}


def test_answers_that_are_valid_and_mean_nothing_make_no_pair_and_say_why(
    tmp_path: Path,
) -> None:
    with a_locksmith(tmp_path, _nonsense, LOCKS) as (site, _):
        make(site)
        assert kept(site) == []
        assert reasons(site) == {"same_outcome": len(LOCKS)}
        (detail,) = set(site.lake.failures(TABLE, BATCH)["detail"])
        assert detail == "the response is the same text under both sets"
        exported = aidsafe(
            site.folder, "export", "--out", "out", "--format", "counterfactual-sft"
        )
        assert exported.returncode == 2
        assert "3 same_outcome" in exported.stdout + exported.stderr


def test_an_answer_that_is_right_under_both_sets_makes_no_pair(tmp_path: Path) -> None:
    def lenient(body: dict[str, Any]) -> str:
        """Grade well whatever is refused or answered."""
        answer = _answer(body)
        if _task(body) != "grade":
            return answer
        refusal = json.loads(answer)["refusal"]
        return json.dumps(_grade(5, refusal))

    with a_locksmith(tmp_path, lenient, LOCKS) as (site, _):
        make(site)
        assert kept(site) == []
        assert reasons(site) == {"right_under_both": len(LOCKS)}


def test_an_answer_below_the_floor_of_its_own_set_makes_no_pair(tmp_path: Path) -> None:
    def strict(body: dict[str, Any]) -> str:
        """Find fault with the open answer everywhere."""
        is_open = "OPEN:" in _asked(body)
        if _task(body) == "grade" and is_open:
            return json.dumps(_grade(3, "none"))
        return _answer(body)

    with a_locksmith(tmp_path, strict, LOCKS) as (site, _):
        make(site)
        assert reasons(site) == {"below_score": len(LOCKS)}
        (detail,) = set(site.lake.failures(TABLE, BATCH)["detail"])
        assert detail.startswith("second answer under its own set: ")


def test_a_row_that_no_judge_can_grade_fails_and_its_gate_keeps_the_others_in(
    tmp_path: Path,
) -> None:
    def mute(body: dict[str, Any]) -> str:
        if _task(body) == "grade" and _rule_of(body) == OPEN_RULE:
            return "I would rather not."
        return _answer(body)

    with a_locksmith(tmp_path, mute, LOCKS) as (site, _):
        run = make(site)
        assert reasons(site) == {"not_graded": len(LOCKS)}
        assert f"{TABLE} integrity" in run.withheld
        exported = aidsafe(
            site.folder, "export", "--out", "out", "--format", "counterfactual-sft"
        )
        assert "closed gate" in exported.stdout + exported.stderr
        # No other row waits for it.
        assert aidsafe(site.folder, "export", "--out", "out").returncode == 0


def test_one_call_under_the_second_set_costs_a_fraction_of_the_whole_recipe(
    tmp_path: Path,
) -> None:
    counterfactuals = {"policies": "theirs", "writer": "single_call"}
    with a_locksmith(tmp_path, _answer, LOCKS, counterfactuals=counterfactuals) as (
        site,
        _,
    ):
        make(site)
        # One answer, and three grades.
        assert {row.usage.calls for row in kept(site)} == {4}
        assert len(kept(site)) == len(LOCKS)


def test_a_share_draws_the_same_prompts_every_time_and_counts_the_others(
    tmp_path: Path,
) -> None:
    settings = {"policies": "policies_b", "share": 0.5}
    rehearsal = NO_FAULTS | {"contrary": 1.0}
    prompts = [f"How is the lock of door {n} opened, kindly?" for n in range(12)]
    with a_site(tmp_path, rehearsal=rehearsal, policies="ours") as site:
        write_policies(tmp_path / "ours", SHUT_RULE)
        write_policies(tmp_path / "policies_b", OPEN_RULE)
        always = a_policy("locks", SHUT_RULE, "always")
        (tmp_path / "ours" / "locks.toml").write_text(always)
        with (tmp_path / "aidsafe.toml").open("a") as file:
            file.write("[counterfactuals]\n")
            for name, value in settings.items():
                file.write(f"{name} = {json.dumps(value)}\n")
        assert site.ingest(prompts_file(tmp_path, prompts)).success
        make(site)
        drawn = {row.prompt_id for row in kept(site)}
        left_out = reasons(site)["not_drawn"]
        assert 0 < left_out < len(site.lake.rows(Stage.COT_GRADES, BATCH))
        make(site, TABLE)
        assert {row.prompt_id for row in kept(site)} == drawn
        assert all(row.simulated for row in kept(site))


def test_without_a_second_set_the_stage_does_nothing_and_is_not_due(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, rehearsal=NO_FAULTS) as site:
        assert site.ingest(prompts_file(tmp_path, LOCKS)).success
        run = site.make(BATCH)
        assert run.error == ""
        assert not site.lake.has(TABLE, BATCH)
        status = aidsafe(tmp_path, "status").stdout
        assert str(TABLE) not in status
        again = aidsafe(tmp_path, "backfill")
        assert again.returncode == 0
        assert "1 was finished before" in again.stdout or "finished" in again.stdout


def test_a_second_set_that_is_not_there_is_named_with_its_setting(
    tmp_path: Path,
) -> None:
    counterfactuals = {"policies": "nowhere"}
    with a_site(tmp_path, counterfactuals=counterfactuals) as site:
        assert site.ingest(prompts_file(tmp_path, LOCKS)).success
        run = run_job(site.instance, "make_batch", partition=BATCH)
        assert "counterfactuals.policies" in run.error
        assert "nowhere" in run.error


def _task(body: dict[str, Any]) -> str:
    tasks = re.findall(r"# Task: (\w+)", _asked(body))
    assert tasks
    return str(tasks[-1])


def _asked(body: dict[str, Any]) -> str:
    """Return what a request asks: of one that is asked again, with what was answered before."""
    return "\n".join(message["content"] for message in body["messages"][1:])


def _rule_of(body: dict[str, Any]) -> str:
    """Return what the policies of a request say of locks."""
    found = SYSTEM_RULE.search(body["messages"][0]["content"])
    assert found
    return found[1]


def _prompt_of(body: dict[str, Any]) -> str:
    return "lock" if any(prompt in _asked(body) for prompt in LOCKS) else "other"


def _answer(body: dict[str, Any]) -> str:
    """Return the server's answer, a function of the request alone."""
    task, is_open = _task(body), _rule_of(body).startswith(OPEN_RULE)
    mark = "PLAIN"
    if _prompt_of(body) == "lock":
        mark = "OPEN" if is_open else "SHUT"
    if task == "grade":
        return json.dumps(_judge(_asked(body), mark))
    return json.dumps(_write(task, _asked(body), mark))


def _judge(message: str, right: str) -> dict[str, Any]:
    mark = next(mark for mark in TEXTS if f"{mark}:" in message)
    return _grade(5 if mark == right else 1, "full" if mark == "SHUT" else "none")


def _grade(score: int, refusal: str) -> dict[str, Any]:
    marked = {"reason": "as built", "score": score}
    grades: dict[str, Any] = dict.fromkeys(METRICS[:3], marked)
    for metric in METRICS[3:]:
        grades[metric] = marked | {"rule": "none", "thought": 0}
    # Where an answer stands, the response follows from the thoughts.
    grades["response_to_cot"] |= {"score": 5}
    return {**grades, "refusal": refusal}


def _write(task: str, message: str, mark: str) -> dict[str, Any]:
    thought_text, response = TEXTS[mark]
    thought = {
        "thought": f"{mark}: {thought_text}",
        "rules": ["locks.1", "manners.1"] if mark != "PLAIN" else ["manners.1"],
    }
    if task == "intent_decomposer":
        policies = [] if mark == "PLAIN" else ["locks"]
        return {
            "intents": [
                {
                    "intent": "to know",
                    "kind": "explicit",
                    "harm": "benign",
                    "policies": policies,
                }
            ]
        }
    if task == "deliberator":
        return {
            "verdict": "agree",
            "comment": "nothing to add",
            "thoughts": [],
            "response": response,
        }
    if task == "refiner":
        count = len(re.findall(r"^\[\d+[:\]]", message, re.MULTILINE))
        return {
            "judgements": [{"verdict": "keep", "reason": "as built"}] * count,
            "thoughts": [thought | {"origins": [1]}],
            "response": response,
        }
    return {"thoughts": [thought], "response": response}


def _nonsense(body: dict[str, Any]) -> str:
    """Answer in the right form, with the same words whatever the policies are."""
    task = _task(body)
    if task == "grade":
        return json.dumps(_grade(5, "none"))
    return json.dumps(_write(task, _asked(body), "OPEN"))
