"""A comparison of generations as a report, for terminal and page."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from aidsafe_dagster.comparisons.figures import as_values as data_values
from aidsafe_dagster.comparisons.report import B_MINUS_A, build_report
from aidsafe_dagster.evaluation.held_out import HeldOutResult
from aidsafe_dagster.generations.comparison import (
    ComparedGeneration,
    GenerationComparison,
)
from aidsafe_dagster.generations.next_settings import candidate_name
from aidsafe_dagster.generations.target_answers import Speaker
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Report,
    Section,
    Table,
    format_count,
    format_estimate,
    format_number,
    format_percentage,
    format_signed,
)

_SIMULATED = (
    "An adapter was trained on simulated rows of the rehearsal engine, which teach a model "
    "nothing of use. The differences show that the loop works."
)


def generation_report(comparison: GenerationComparison) -> Report:
    """Build the whole report; what is of the loop comes before what any comparison has."""
    report = build_report(comparison.data)
    warning = report.simulation_warning
    if not warning and _is_rehearsed(comparison):
        warning = _SIMULATED
    sections = [
        _speaker_section(comparison),
        _target_section(comparison),
        _adapter_section(comparison),
        *report.sections,
    ]
    return replace(report, simulation_warning=warning, sections=sections)


def as_values(comparison: GenerationComparison) -> dict[str, Any]:
    """Return the comparison as plain values, for programs."""
    return {
        "generations": [
            comparison.a.generation.model_dump(mode="json"),
            comparison.b.generation.model_dump(mode="json"),
        ],
        "speakers": {
            "a": [asdict(one) for one in comparison.speakers_a],
            "b": [asdict(one) for one in comparison.speakers_b],
        },
        "target": [
            *(asdict(one) for one in comparison.target_shares),
            *(asdict(one) for one in comparison.target_means),
        ],
        "benchmarks": [
            {**asdict(share), "measure": share.measure.name}
            for share in comparison.shares
        ],
        "held_out": [asdict(one) for one in comparison.held_out],
        "data": data_values(comparison.data, ()),
    }


def _is_rehearsed(comparison: GenerationComparison) -> bool:
    for side in (comparison.a, comparison.b):
        if any(adapter.simulated for adapter in side.generation.adapters):
            return True
    return False


def _speaker_section(comparison: GenerationComparison) -> Section:
    rows = []
    sides = (
        (comparison.a, comparison.speakers_a),
        (comparison.b, comparison.speakers_b),
    )
    for letter, (side, speakers) in zip("AB", sides, strict=True):
        name = f"{letter}: {side.generation.number}"
        rows += [_speaker_row(name, one) for one in speakers]
        if not speakers:
            rows.append((name, "nobody yet", EMPTY_CELL, "0", "0"))
    note = (
        "Answers: valid answers under a belief. Pairs: those whose answer to avoid it gave. Pairs "
        "of an adapter are on-policy for a training that goes on from it."
    )
    table = Table(
        "Targets",
        ("generation", "model", "adapter", "answers", "pairs"),
        tuple(rows),
        note,
        text_columns=3,
    )
    return Section("Who spoke", "", [table])


def _speaker_row(name: str, speaker: Speaker) -> tuple[str, ...]:
    return (
        name,
        speaker.model,
        speaker.adapter or EMPTY_CELL,
        format_count(speaker.answers),
        format_count(speaker.pairs),
    )


def _target_section(comparison: GenerationComparison) -> Section:
    shares = []
    for share in comparison.target_shares:
        shares.append(
            (
                share.name,
                format_count(share.a),
                format_count(share.b),
                _points(share.difference),
            )
        )
    n = len(comparison.data.prompts)
    tables = [
        Table(
            "Prompts",
            ("that are …", "A", "B", B_MINUS_A),
            tuple(shares),
            f"n = {n:,}: all prompts that both have, those that failed as well. {B_MINUS_A} in "
            "points of a hundred, with 95 % intervals for matched pairs.",
        )
    ]
    means = []
    for mean in comparison.target_means:
        difference = mean.difference
        means.append(
            (
                mean.name,
                format_count(difference.n if difference else 0),
                format_number(mean.a),
                format_number(mean.b),
                format_estimate(difference, format_signed),
            )
        )
    tables.append(
        Table(
            "Means, on prompts with a value in both",
            ("mean", "n", "A", "B", B_MINUS_A),
            tuple(means),
            "Policy scores run from 1 to 5, and a higher one is harder to mislead. Differences are "
            "paired, with 95 % bootstrap intervals.",
        )
    )
    return Section("What the target said under beliefs", "", tables)


def _adapter_section(comparison: GenerationComparison) -> Section:
    title = "What the training made of it"
    a, b = comparison.a.adapter, comparison.b.adapter
    if a is None or b is None:
        return Section(title, "One of the two has no adapter yet.")
    intro = f"A: {candidate_name(a)} ({a.label}). B: {candidate_name(b)} ({b.label})."
    tables: list[Table] = []
    if comparison.shares:
        tables += _benchmark_tables(comparison)
    if comparison.held_out:
        tables += _held_out_tables(comparison.held_out)
    if not tables:
        intro += f" {_why_nothing(comparison.b)}"
    return Section(title, intro, tables)


def _why_nothing(side: ComparedGeneration) -> str:
    reason = side.generation.not_evaluated
    if reason:
        return f"They were not evaluated: {reason}."
    return "They were not evaluated together."


def _benchmark_tables(comparison: GenerationComparison) -> list[Table]:
    """Return shares and differences apart: side by side they are wider than a terminal."""
    shares, differences = [], []
    for share in comparison.shares:
        name = f"{share.benchmark}, {share.measure.name}"
        shares.append((name, format_percentage(share.a), format_percentage(share.b)))
        differences.append(
            (
                name,
                format_count(share.a.n),
                _points(share.difference),
                format_count(share.failed_a),
                format_count(share.failed_b),
            )
        )
    note = (
        "Differences in points, with 95 % intervals for matched pairs. No result: prompts without "
        "an answer or a verdict. They count in every share, as not so."
    )
    columns = ("benchmark", "n", B_MINUS_A, "no result in A", "in B")
    return [
        Table(
            "Shares with 95 % Wilson intervals",
            ("benchmark", "A", "B"),
            tuple(shares),
        ),
        Table("On the same prompts", columns, tuple(differences), note),
    ]


def _held_out_tables(results: Sequence[HeldOutResult]) -> list[Table]:
    losses, margins = [], []
    for letter, result in zip("AB", results, strict=True):
        name = f"{letter}: {result.candidate}"
        losses.append(
            (
                name,
                format_count(result.loss.n if result.loss else 0),
                format_estimate(result.loss),
                format_estimate(result.loss_difference, format_signed),
                format_count(result.unscored),
            )
        )
        margins.append(
            (
                name,
                format_count(result.preferred.n if result.preferred else 0),
                format_percentage(result.preferred),
                format_estimate(result.margin_difference, _one_digit),
            )
        )
    return [
        Table(
            "Held-out answers, loss in nats per token",
            ("adapter", "n", "loss", B_MINUS_A, "no score"),
            tuple(losses),
        ),
        Table(
            "Held-out pairs, margin in nats",
            ("adapter", "n", "chosen preferred", f"margin, {B_MINUS_A}"),
            tuple(margins),
            "Rows of B's test split, the same for both.",
        ),
    ]


def _one_digit(value: float | None) -> str:
    return format_signed(value, 1)


def _points(estimate: Estimate | None) -> str:
    return format_estimate(estimate, _in_points)


def _in_points(value: float | None) -> str:
    return format_signed(None if value is None else 100 * value, 1)
