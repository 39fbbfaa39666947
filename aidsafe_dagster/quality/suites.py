"""The partition gate: what a stage's partition must be before the next stage may read it.

Each suite is named for what it protects and is an asset check of its own, so a person sees at a
glance which one closed: `integrity` (every row is accounted for, whole and of one kind),
`token_length`, `policy_coverage` and `grades`. The table of stages says which suites a stage has.
What a suite expects follows from the columns that the stage's rows have.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import polars as pl

from aidsafe_dagster.quality.expectations import (
    Expectation,
    SuiteResult,
    between,
    equal,
    fact,
    median,
    present,
    row_count,
    run_suite,
    run_suites,
    unique,
)
from aidsafe_dagster.quality.metrics import KEYS, measure_rows
from aidsafe_dagster.quality.tokens import TokenCounter
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    METRICS,
    NOT_ASKED_REASONS,
)
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.recipe.stages import (
    GRADES,
    INTEGRITY,
    POLICY_COVERAGE,
    TOKEN_LENGTH,
    stage_named,
)


@dataclass(frozen=True)
class _Partition:
    columns: frozenset[str]
    """Of its metric frame."""
    settings: CheckSettings
    expected_rows: int | None
    is_refined: bool
    is_optional: bool
    """No other stage rests on it, so it may come out empty."""


def validate(
    stage: str,
    suites: Collection[str],
    frame: pl.DataFrame,
    *,
    failures: pl.DataFrame,
    expected_rows: int | None,
    policies: Policies,
    settings: CheckSettings,
    counter: TokenCounter,
) -> dict[str, SuiteResult]:
    """Run suites on the rows of one partition, and return the result of each.

    Args:
        stage: name of the stage.
        suites: names of suites of the stage.
        frame: its rows.
        failures: the `Failure` rows beside them.
        expected_rows: number of rows that the stage was given; None where there is no such number.
        policies: the policies in force.
        settings: bounds of the gate.
        counter: counts the tokens of texts that carry no count.

    Raises:
        SetupError: there is no such stage, or it has no such suite.
    """
    definition = stage_named(stage)
    for suite in suites:
        if suite not in definition.suites:
            raise unknown("suite", suite, definition.suites, f"stage '{stage}'")
    rows = measure_rows(definition.record, frame, policies, counter)
    partition = _Partition(
        columns=frozenset(rows.columns),
        settings=settings,
        expected_rows=expected_rows,
        is_refined="refined_ratio" in rows.columns,
        is_optional=definition.is_optional,
    )
    least = 0 if definition.is_optional else settings.min_rows
    expected = {}
    for suite in suites:
        # Great Expectations passes vacuously on an empty frame, so a row count comes first.
        expected[suite] = [
            row_count(least),
            *_SUITES[suite](partition),
        ]
    summary = partition_summary(rows, failures, expected_rows)
    return run_suites(str(stage), expected, {"rows": rows, "summary": summary})


def check_refined_length(frame: pl.DataFrame, settings: CheckSettings) -> SuiteResult:
    """Expect that refinement does not lengthen the CoTs of a batch on the whole.

    Args:
        frame: rows of refined CoTs. Without any there is no median, and nothing is expected.
        settings: the bound.
    """
    ratio = pl.col("cot_tokens") / pl.max_horizontal("deliberated_cot_tokens", 1)
    rows = frame.select("prompt_id", ratio.alias("refined_ratio"))
    expected = []
    if rows.height:
        expected.append(median("refined_ratio", settings.max_median_refined_ratio))
    return run_suite("refined length", expected, {"rows": rows})


def partition_summary(
    rows: pl.DataFrame, failures: pl.DataFrame, expected_rows: int | None
) -> pl.DataFrame:
    """Return one line of facts about a partition, from its metric frame and its failures.

    `failure_share` and `left_out_share` (see `EXCLUSION_REASONS`) are shares of all rows that the
    stage was meant to make, so without those that another stage's closed gate keeps out.
    `unaccounted` counts rows that were given and did not come out (below zero: more came out).
    `failed_and_kept` counts prompts that are in both files.
    """
    unaccounted = None
    if expected_rows is not None:
        unaccounted = expected_rows - (rows.height + failures.height)
    # A closed gate of their own must not close that of the rows beside them, and rows that nobody
    # was to be asked about would hide how many of the others failed.
    not_asked = [str(reason) for reason in NOT_ASKED_REASONS]
    judged = failures.filter(~pl.col("reason").is_in(not_asked))
    total = rows.height + judged.height
    left_out_reasons = [str(reason) for reason in EXCLUSION_REASONS]
    left_out = judged.filter(pl.col("reason").is_in(left_out_reasons)).height
    failed = judged.height - left_out
    # Prompts carry no label, since nobody has answered them yet.
    simulated_kinds = 1
    if "simulated" in rows.columns:
        simulated_kinds = rows["simulated"].n_unique()
    failed_and_kept = failures.join(rows, on="prompt_id", how="semi")
    facts = {
        "failures": failed,
        "failure_share": failed / total if total else 0.0,
        "left_out_share": left_out / total if total else 0.0,
        "unaccounted": unaccounted,
        "failed_and_kept": failed_and_kept.height,
        "simulated_kinds": simulated_kinds,
    }
    # A column of a single None would have no type.
    return pl.DataFrame([facts], schema_overrides={"unaccounted": pl.Int64})


def _integrity(partition: _Partition) -> list[Expectation]:
    columns, settings = partition.columns, partition.settings
    expected = [
        *map(present, KEYS),
        *equal("blank_texts", 0),
        fact("failure_share", None, settings.max_failure_share),
    ]
    if not partition.is_optional:
        expected.append(fact("left_out_share", None, settings.max_left_out_share))
    if partition.expected_rows is not None:
        expected.append(fact("unaccounted", 0, 0))
    if "simulated" in columns:
        # Rows of a model and rows of the rehearsal must never share a partition.
        expected += [fact("simulated_kinds", None, 1), present("simulated")]
    if "agent_talk" in columns:
        expected += equal("agent_talk", "")
    if "same_text" in columns:
        expected += equal("same_text", value=False)
    if "row_key" in columns:
        # A prompt may have an SFT row and a DPO row, but both in one split.
        expected += unique("row_key")
        expected += equal("splits_of_prompt", 1)
        expected += equal("turn_is_whole", value=True)
    else:
        expected += unique("prompt_id")
        expected.append(fact("failed_and_kept", 0, 0))
    return expected


def _token_length(partition: _Partition) -> list[Expectation]:
    settings = partition.settings
    minimum, maximum = settings.min_cot_tokens, settings.max_cot_tokens
    # Prompts have no row gate, so the bound on failures is the share that may be too long.
    mostly = 1 - settings.max_failure_share
    expected: list[Expectation] = []
    if "prompt_tokens" in partition.columns:
        expected += between(
            "prompt_tokens", 1, settings.max_prompt_tokens, mostly=mostly
        )
    if "cot_tokens" in partition.columns:
        expected += between("cot_tokens", minimum, maximum)
    if "chosen_cot_tokens" in partition.columns:
        expected += between("chosen_cot_tokens", minimum, maximum)
        # The rejected side is the target's own, and nobody asked it for a minimum.
        expected += between("rejected_cot_tokens", 1, maximum)
        expected += between("chosen_response_tokens", 1, None)
        expected += between("rejected_response_tokens", 1, None)
    for answer in ("first", "second"):
        if f"{answer}_cot_tokens" in partition.columns:
            expected += between(f"{answer}_cot_tokens", minimum, maximum)
            expected += between(f"{answer}_response_tokens", 1, None)
    if "thinking_tokens" in partition.columns:
        expected += between("thinking_tokens", minimum, maximum)
    if "response_tokens" in partition.columns:
        expected += between("response_tokens", 1, None)
    if partition.is_refined:
        expected += between(
            "refined_ratio", settings.min_refined_share, settings.max_refined_ratio
        )
    return expected


def _grades(_: _Partition) -> list[Expectation]:
    """Every row has a grade of its refined CoT, and no score lies outside the scale."""
    expected: list[Expectation] = []
    expected += between("policy_score", 1, 5)
    expected += between("refined_grades", 1, None)
    for metric in METRICS:
        expected += between(f"{metric}_lowest", 1, 5)
        expected += between(f"{metric}_highest", 1, 5)
    return expected


def _policy_coverage(partition: _Partition) -> list[Expectation]:
    """Cited rules exist, and a refined CoT cites a rule of each applicable policy."""
    # Earlier stages may still add what is missing, so only the refined CoT has to be complete.
    blocking = partition.is_refined and partition.settings.require_policy_coverage
    return [
        *equal("unknown_rules", 0),
        *equal("uncovered_policies", 0, blocking=blocking),
    ]


_SUITES: Mapping[str, Callable[[_Partition], list[Expectation]]] = {
    INTEGRITY: _integrity,
    TOKEN_LENGTH: _token_length,
    POLICY_COVERAGE: _policy_coverage,
    GRADES: _grades,
}
