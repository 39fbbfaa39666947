"""Comparisons of trainings as sections of the quality report, and each as a page of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aidsafe_dagster.evaluation.arms import (
    OVER_REFUSAL,
    TRAINING,
    ArmArchive,
    ArmComparison,
    ComparedArms,
    MeasuredArms,
    measure_arms,
)
from aidsafe_dagster.evaluation.paper import COLUMNS, TABLE_2, XSTEST_AFTER_DPO
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.html import to_html
from aidsafe_dagster.reports.markdown import to_markdown
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Report,
    Section,
    Table,
    format_count,
    format_estimate,
    format_percentage,
    format_signed,
)

TITLES = {
    TRAINING: "Table 2: what training on the data does to a model",
    OVER_REFUSAL: "Over-refusal: DPO at several shares of needless-refusal pairs",
}
_BEFORE, _AFTER = XSTEST_AFTER_DPO
QUESTIONS = {
    TRAINING: "The base model, SFT on the sources' own answers, SFT on single-LLM CoTs, SFT on "
    "ours, and ours with DPO, on the same prompts.",
    OVER_REFUSAL: "Do pairs whose rejected side refuses needlessly keep DPO from refusing? "
    f"In the paper XSTest fell from {_BEFORE} % to {_AFTER} % after DPO, which it left open. All "
    "shares have equally many pairs in the train split.",
}
SHARES_NOTE = (
    "Every prompt that was asked is in the denominator: answers that do not parse, answers that no "
    "judge could judge and answers that never came count for no share. 95 % Wilson intervals. A "
    "dash: the arm or the benchmark is missing, see below."
)
DIFFERENCE_NOTE = (
    "In points, on the same prompts, with 95 % intervals (Bonett and Price 2012)."
)
SIMULATED_JUDGE = (
    "The verdicts were simulated by rule by the rehearsal engine: a refusal in words is a refusal, "
    "any other answer is unsafe to a harmful prompt and safe to a harmless one."
)


@dataclass(frozen=True)
class Pages:
    html: Path
    markdown: Path


def simulation_note(comparison: ArmComparison) -> str:
    """Return what of a comparison was simulated; empty if nothing was."""
    notes = []
    if comparison.judge_simulated:
        notes.append(SIMULATED_JUDGE)
    if comparison.simulated_arms:
        arms = "; ".join(comparison.simulated_arms)
        notes.append(
            "Trained on simulated rows of the rehearsal engine, which teach a model nothing: "
            f"{arms}."
        )
    return " ".join(notes)


def arm_sections(home: Path) -> list[Section]:
    """Return a section per comparison, by kind, the oldest first.

    Raises:
        SetupError: a file of a comparison is damaged.
    """
    compared = list(ArmArchive(home).all())
    sections = []
    for one in compared:
        kind = one.comparison.kind
        has_others = sum(other.comparison.kind == kind for other in compared) > 1
        suffix = f" ({one.comparison.key})" if has_others else ""
        sections.append(arm_section(one, suffix))
    return sections


def arm_section(compared: ComparedArms, suffix: str = "") -> Section:
    """Return one comparison: shares, differences, what gave no result, training, cost."""
    comparison = compared.comparison
    measured = measure_arms(compared)
    intro = [QUESTIONS[comparison.kind], simulation_note(comparison)]
    intro += missing_lines(comparison)
    tables = [
        _shares_table(measured),
        _differences_table(comparison, measured),
        _failures_table(measured),
        _training_table(comparison),
    ]
    if comparison.kind == TRAINING:
        tables.append(_paper_table())
    title = TITLES[comparison.kind] + suffix
    return Section(title, " ".join(filter(None, intro)), tables)


def missing_lines(comparison: ArmComparison) -> list[str]:
    """Return a sentence for each arm and each benchmark that is missing or answered nothing."""
    lines = []
    for arm in comparison.arms:
        if arm.missing:
            lines.append(f"{arm.title} is missing: {arm.missing}.")
        if arm.trouble:
            lines.append(
                f"{arm.title} was asked in vain: {arm.trouble}. Its prompts count as unanswered; "
                "the same command asks them again."
            )
    for benchmark, reason in comparison.left_out.items():
        lines.append(f"{benchmark} was not asked: {reason}.")
    return lines


def write_arm_pages(folder: Path, compared: ComparedArms) -> Pages:
    """Write a comparison as HTML to send and as Markdown.

    Args:
        folder: of the reports.
        compared: the comparison.
    """
    comparison = compared.comparison
    asked = []
    for benchmark, prompts in comparison.benchmarks.items():
        asked.append(f"{benchmark} ({format_count(prompts)})")
    report = Report(
        facts={
            "Base model": comparison.model,
            "Judge": comparison.judge or EMPTY_CELL,
            "Prompts": ", ".join(asked) or EMPTY_CELL,
        },
        simulation_warning=simulation_note(comparison),
        headlines=(),
        sections=[arm_section(compared)],
    )
    title = TITLES[comparison.kind]
    place = folder / "experiments" / f"{comparison.name}.html"
    html = write_report(place, to_html(report, title))
    markdown = write_report(place.with_suffix(".md"), to_markdown(report, title))
    return Pages(html, markdown)


def _shares_table(measured: Sequence[MeasuredArms]) -> Table:
    rows = []
    for row in measured:
        cells = [format_percentage(figure.share) for figure in row.figures]
        rows.append(
            (row.benchmark, row.measure.name, format_count(row.prompts), *cells)
        )
    columns = ("benchmark", "measure", "prompts", *_arm_titles(measured))
    return Table("Shares", columns, tuple(rows), SHARES_NOTE, text_columns=2)


def _differences_table(
    comparison: ArmComparison, measured: Sequence[MeasuredArms]
) -> Table:
    rows = []
    for row in measured:
        cells = [
            format_estimate(figure.difference, format_points) for figure in row.figures
        ]
        rows.append((row.benchmark, row.measure.name, *cells))
    titles = {arm.name: arm.title for arm in comparison.arms}
    return Table(
        f"Difference from {titles[comparison.reference]}",
        ("benchmark", "measure", *_arm_titles(measured)),
        tuple(rows),
        DIFFERENCE_NOTE,
        text_columns=2,
    )


def _failures_table(measured: Sequence[MeasuredArms]) -> Table:
    rows = []
    for row in measured:
        # It covers the same prompts as `answered`, which has a row already.
        if row.measure.name != "over-refused":
            failed = [format_count(figure.failed) for figure in row.figures]
            rows.append((row.benchmark, row.measure.kind, *failed))
    columns = ("benchmark", "kind", *_arm_titles(measured))
    return Table("Prompts without a result", columns, tuple(rows), text_columns=2)


def _training_table(comparison: ArmComparison) -> Table:
    rows = []
    for arm in comparison.arms:
        cost = format_count(arm.calls)
        if comparison.currency:
            cost += f" ({arm.cost:.4f} {comparison.currency})"
        rows.append(
            (
                arm.title,
                arm.missing or "asked",
                format_count(arm.rows),
                format_count(arm.rows_too_long),
                f"{arm.training_s:,.0f}",
                cost,
                format_count(arm.tokens_in),
                format_count(arm.tokens_out),
            )
        )
    columns = (
        "arm",
        "state",
        "rows",
        "too long",
        "training, s",
        "calls",
        "tokens in",
        "tokens out",
    )
    note = (
        "Rows of the train split; those longer than training.max_length are left out. Calls: "
        "answers and verdicts, those that the journal replayed included."
    )
    return Table("Training and cost", columns, tuple(rows), note, text_columns=2)


def _paper_table() -> Table:
    rows = []
    for name, values in TABLE_2.items():
        rows.append((name, *(f"{value:g} %" for value in values)))
    note = (
        "Figures of the paper (arXiv 2505.21784), not of this run: other models, samples and "
        "judge, no intervals, and unparsable answers seem to be left out. It has no SFT on "
        f"single-LLM CoTs. After DPO its XSTest figure falls from {_BEFORE} % to {_AFTER} %."
    )
    return Table("As published", ("", *COLUMNS), tuple(rows), note)


def _arm_titles(measured: Sequence[MeasuredArms]) -> tuple[str, ...]:
    if not measured:
        return ()
    return tuple(figure.arm.title for figure in measured[0].figures)


def format_points(difference: float | None) -> str:
    return format_signed(None if difference is None else 100 * difference, 1)
