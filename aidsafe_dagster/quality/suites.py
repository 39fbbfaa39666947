"""The partition gate: what a stage's partition must be before the next stage may read it.

Three suites, each named for what it protects: `integrity` (rows are all accounted for, whole and of one kind),
`token_length`, and `policy_coverage`. Each is an asset check of its own, so a person sees at a glance which one closed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.quality.expectations import (
    Expected,
    SuiteResult,
    between,
    equal,
    fact,
    present,
    row_count,
    run,
    unique,
)
from aidsafe_dagster.quality.metrics import KEYS, metrics_of
from aidsafe_dagster.quality.predicates import CheckSettings
from aidsafe_dagster.quality.tokens import TokenCounter
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import EXCLUSION_REASONS, METRICS, Stage

INTEGRITY = "integrity"
TOKEN_LENGTH = "token_length"  # noqa: S105 - not a password
POLICY_COVERAGE = "policy_coverage"

GRADES = "grades"

_REASONED = (Stage.SINGLE_LLM_COTS, Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS)


@dataclass(frozen=True)
class _Gate:
    stage: Stage
    settings: CheckSettings
    expected_rows: int | None


def suites_for(stage: str) -> tuple[str, ...]:
    """Names of a stage's suites.

    Raises:
        SetupError: there is no such stage.
    """
    if stage not in tuple(Stage):
        raise unknown("stage", stage, map(str, Stage), "quality checks")
    if stage == Stage.COT_GRADES:
        return (INTEGRITY, GRADES)
    return (
        (INTEGRITY, TOKEN_LENGTH, POLICY_COVERAGE)
        if stage in _REASONED
        else (INTEGRITY, TOKEN_LENGTH)
    )


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
    """Runs one suite on the rows of one partition.

    `failures` are the `Failure` rows beside them; `expected_rows` is the number of rows that the stage was given, None
    where none are owed (`prompts`).

    Raises:
        SetupError: there is no such stage, or it has no such suite.
    """
    if suite not in suites_for(stage):
        raise unknown("suite", suite, suites_for(stage), f"stage '{stage}'")
    rows = metrics_of(stage, frame, policies, counter)
    expected = _SUITES[suite](_Gate(Stage(stage), settings, expected_rows))
    summary = summary_of(rows, failures, expected_rows)
    return run(
        f"{stage} {suite}",
        [row_count(settings.min_rows), *expected],
        {"rows": rows, "summary": summary},
    )


def summary_of(
    rows: pl.DataFrame, failures: pl.DataFrame, expected_rows: int | None
) -> pl.DataFrame:
    """One line of facts about a partition. `rows` is its metric frame.

    `failure_share` and `left_out_share` (see `EXCLUSION_REASONS`) are of all rows that were given; `unaccounted` counts rows
    that were given and came out as neither (below zero: more came out); `failed_and_kept` counts prompts that are both.
    """
    total = rows.height + failures.height
    left_out = failures.filter(
        pl.col("reason").is_in([str(reason) for reason in EXCLUSION_REASONS])
    ).height
    facts = {
        "failures": failures.height - left_out,
        "failure_share": (failures.height - left_out) / total if total else 0.0,
        "left_out_share": left_out / total if total else 0.0,
        "unaccounted": None if expected_rows is None else expected_rows - total,
        "failed_and_kept": failures.join(rows, on="prompt_id", how="semi").height,
        "simulated_kinds": rows["simulated"].n_unique() if "simulated" in rows.columns else 1,
    }
    return pl.DataFrame([facts], schema_overrides={"unaccounted": pl.Int64})


def _integrity(gate: _Gate) -> list[Expected]:
    expected = [
        *map(present, KEYS),
        *equal("blank_texts", 0),
        fact("failure_share", None, gate.settings.max_failure_share),
        fact("left_out_share", None, gate.settings.max_left_out_share),
    ]
    if gate.expected_rows is not None:
        expected.append(fact("unaccounted", 0, 0))
    if gate.stage is not Stage.PROMPTS:
        expected += [fact("simulated_kinds", None, 1), present("simulated")]
    if gate.stage in (Stage.REFINED_COTS, Stage.PREFERENCE_PAIRS, Stage.FINE_TUNE_SPLITS):
        expected += equal("agent_talk", "")
    if gate.stage in (Stage.PREFERENCE_PAIRS, Stage.FINE_TUNE_SPLITS):
        expected += equal("same_text", value=False)
    if gate.stage is Stage.FINE_TUNE_SPLITS:
        return [
            *expected,
            *unique("row_key"),
            *equal("splits_of_prompt", 1),
            *equal("turn_is_whole", value=True),
        ]
    return [*expected, *unique("prompt_id"), fact("failed_and_kept", 0, 0)]


def _token_length(gate: _Gate) -> list[Expected]:
    low, high = gate.settings.min_cot_tokens, gate.settings.max_cot_tokens
    if gate.stage is Stage.PROMPTS:
        long = between(
            "prompt_tokens",
            1,
            gate.settings.max_prompt_tokens,
            mostly=1 - gate.settings.max_failure_share,
        )
        return list(long)
    if gate.stage is Stage.PREFERENCE_PAIRS:
        responses = (
            *between("chosen_response_tokens", 1, None),
            *between("rejected_response_tokens", 1, None),
        )
        return [
            *between("chosen_cot_tokens", low, high),
            *between("rejected_cot_tokens", 1, high),
            *responses,
        ]
    if gate.stage is Stage.FINE_TUNE_SPLITS:
        return [*between("thinking_tokens", low, high), *between("response_tokens", 1, None)]
    expected = [*between("cot_tokens", low, high), *between("response_tokens", 1, None)]
    if gate.stage is Stage.REFINED_COTS:
        expected += between(
            "refined_ratio", gate.settings.min_refined_share, gate.settings.max_refined_ratio
        )
    return expected


def _grades(_: _Gate) -> list[Expected]:
    """Every row has a grade of its refined CoT, and no score lies outside the scale."""
    expected = [*between("policy_score", 1, 5), *between("refined_grades", 1, None)]
    for metric in METRICS:
        expected += [*between(f"{metric}_lowest", 1, 5), *between(f"{metric}_highest", 1, 5)]
    return expected


def _policy_coverage(gate: _Gate) -> list[Expected]:
    owed = gate.stage is Stage.REFINED_COTS and gate.settings.require_policy_coverage
    return [*equal("unknown_rules", 0), *equal("uncovered_policies", 0, blocking=owed)]


_SUITES: Mapping[str, Callable[[_Gate], list[Expected]]] = {
    INTEGRITY: _integrity,
    TOKEN_LENGTH: _token_length,
    POLICY_COVERAGE: _policy_coverage,
    GRADES: _grades,
}
