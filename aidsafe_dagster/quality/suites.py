"""The partition gate: requirements for a stage's partition before the next stage may read it.

The suites are named for what they protect: `integrity` (all rows are accounted for, complete and of
one kind), `token_length`, `policy_coverage` and `grades`. Each is an asset check of its own, which
shows at a glance which one failed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.quality.expectations import (
    Expectation,
    SuiteResult,
    between,
    equal,
    fact,
    present,
    row_count,
    run_suite,
    unique,
)
from aidsafe_dagster.quality.metrics import KEYS, row_metrics
from aidsafe_dagster.quality.predicates import CheckSettings
from aidsafe_dagster.quality.tokens import TokenCounter
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import LEFT_OUT, METRICS, Stage

INTEGRITY = "integrity"
TOKEN_LENGTH = "token_length"  # noqa: S105 - not a password
POLICY_COVERAGE = "policy_coverage"

GRADES = "grades"

_COT_STAGES = (Stage.SINGLE_LLM_COTS, Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS)


@dataclass(frozen=True)
class _Context:
    stage: Stage
    settings: CheckSettings
    expected_rows: int | None


def suites_for(stage: str) -> tuple[str, ...]:
    """Return the names of a stage's suites.

    Raises:
        SetupError: there is no such stage.
    """
    if stage not in tuple(Stage):
        raise unknown("stage", stage, map(str, Stage), "quality checks")
    if stage == Stage.COT_GRADES:
        return (INTEGRITY, GRADES)
    if stage in _COT_STAGES:
        return (INTEGRITY, TOKEN_LENGTH, POLICY_COVERAGE)
    return (INTEGRITY, TOKEN_LENGTH)


def validate(
    stage: str,
    suite: str,
    frame: pl.DataFrame,
    *,
    failures: pl.DataFrame,
    expected_rows: int | None,
    policies: Policies,
    settings: CheckSettings,
    counter: TokenCounter,
) -> SuiteResult:
    """Run one suite on the rows of one partition.

    Args:
        failures: the partition's `Failure` rows.
        expected_rows: number of rows that entered the stage; None if there is no such number
            (`prompts`).

    Raises:
        SetupError: there is no such stage, or it has no such suite.
    """
    if suite not in suites_for(stage):
        raise unknown("suite", suite, suites_for(stage), f"stage '{stage}'")
    rows = row_metrics(stage, frame, policies, counter)
    expected = _SUITES[suite](_Context(Stage(stage), settings, expected_rows))
    summary = partition_summary(rows, failures, expected_rows)
    return run_suite(
        f"{stage} {suite}",
        [row_count(settings.min_rows), *expected],
        {"rows": rows, "summary": summary},
    )


def partition_summary(
    rows: pl.DataFrame, failures: pl.DataFrame, expected_rows: int | None
) -> pl.DataFrame:
    """Return one line of facts about a partition with this metric frame.

    `failure_share` and `left_out_share` (see `LEFT_OUT`) are shares of all rows that came out.
    `unaccounted` counts rows that entered and did not come out (negative: more came out).
    `failed_and_kept` counts prompts that are both.
    """
    total = rows.height + failures.height
    left_out_reasons = [str(reason) for reason in LEFT_OUT]
    left_out = failures.filter(pl.col("reason").is_in(left_out_reasons)).height
    failed = failures.height - left_out
    unaccounted = None if expected_rows is None else expected_rows - total
    simulated_kinds = rows["simulated"].n_unique() if "simulated" in rows.columns else 1
    facts = {
        "failures": failed,
        "failure_share": failed / total if total else 0.0,
        "left_out_share": left_out / total if total else 0.0,
        "unaccounted": unaccounted,
        "failed_and_kept": failures.join(rows, on="prompt_id", how="semi").height,
        "simulated_kinds": simulated_kinds,
    }
    return pl.DataFrame([facts], schema_overrides={"unaccounted": pl.Int64})


def _integrity(context: _Context) -> list[Expectation]:
    expected = [
        *map(present, KEYS),
        *equal("blank_texts", 0),
        fact("failure_share", None, context.settings.max_failure_share),
        fact("left_out_share", None, context.settings.max_left_out_share),
    ]
    if context.expected_rows is not None:
        expected.append(fact("unaccounted", 0, 0))
    if context.stage is not Stage.PROMPTS:
        expected += [fact("simulated_kinds", None, 1), present("simulated")]
    if context.stage in (Stage.REFINED_COTS, Stage.PREFERENCE_PAIRS, Stage.FINE_TUNE_SPLITS):
        expected += equal("agent_talk", "")
    if context.stage in (Stage.PREFERENCE_PAIRS, Stage.FINE_TUNE_SPLITS):
        expected += equal("same_text", value=False)
    # A prompt has one SFT row and one DPO row, so its id is not unique there.
    if context.stage is Stage.FINE_TUNE_SPLITS:
        return [
            *expected,
            *unique("row_key"),
            *equal("splits_of_prompt", 1),
            *equal("turn_is_whole", value=True),
        ]
    return [*expected, *unique("prompt_id"), fact("failed_and_kept", 0, 0)]


def _token_length(context: _Context) -> list[Expectation]:
    low, high = context.settings.min_cot_tokens, context.settings.max_cot_tokens
    if context.stage is Stage.PROMPTS:
        # No row gate drops long prompts, so this suite tolerates as many as failures.
        share = 1 - context.settings.max_failure_share
        return list(between("prompt_tokens", 1, context.settings.max_prompt_tokens, mostly=share))
    if context.stage is Stage.PREFERENCE_PAIRS:
        return [
            *between("chosen_cot_tokens", low, high),
            *between("rejected_cot_tokens", 1, high),
            *between("chosen_response_tokens", 1, None),
            *between("rejected_response_tokens", 1, None),
        ]
    if context.stage is Stage.FINE_TUNE_SPLITS:
        return [
            *between("thinking_tokens", low, high),
            *between("response_tokens", 1, None),
        ]
    expected = [
        *between("cot_tokens", low, high),
        *between("response_tokens", 1, None),
    ]
    if context.stage is Stage.REFINED_COTS:
        expected += between(
            "refined_ratio", context.settings.min_refined_share, context.settings.max_refined_ratio
        )
    return expected


def _grades(_: _Context) -> list[Expectation]:
    """Require a grade of each row's refined CoT, and scores within the scale."""
    expected = [
        *between("policy_score", 1, 5),
        *between("refined_grades", 1, None),
    ]
    for metric in METRICS:
        expected += between(f"{metric}_lowest", 1, 5)
        expected += between(f"{metric}_highest", 1, 5)
    return expected


def _policy_coverage(context: _Context) -> list[Expectation]:
    is_required = context.stage is Stage.REFINED_COTS and context.settings.require_policy_coverage
    return [
        *equal("unknown_rules", 0),
        *equal("uncovered_policies", 0, blocking=is_required),
    ]


_SUITES: Mapping[str, Callable[[_Context], list[Expectation]]] = {
    INTEGRITY: _integrity,
    TOKEN_LENGTH: _token_length,
    POLICY_COVERAGE: _policy_coverage,
    GRADES: _grades,
}
