"""The report on a safety evaluation: the paper's Table 2 for the models under test."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from aidsafe_dagster.evaluation.held_out import HeldOutResult
from aidsafe_dagster.evaluation.items import Benchmark
from aidsafe_dagster.evaluation.paper import COLUMNS, TABLE_2, XSTEST_AFTER_DPO
from aidsafe_dagster.evaluation.results import (
    FormShare,
    Share,
    compute_form_shares,
    compute_jailbreak_shares,
    compute_shares,
)
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.safety_eval import FAILED, EvaluatedAnswer
from aidsafe_dagster.reports.plots import (
    GREY,
    HOT,
    LIGHT,
    MIDDLE,
    STRONG,
    WARM,
    draw_estimates,
    format_percent_tick,
    legend,
)
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Plot,
    Report,
    Section,
    Table,
    format_count,
    format_estimate,
    format_percentage,
    format_signed,
)

TITLE = "Safety evaluation"
FORM_TITLE = "Form of the answers"
HELD_OUT_TITLE = "Held-out answers"
_COLOURS = (GREY, STRONG, WARM, MIDDLE, HOT, LIGHT)
_DENOMINATOR_NOTE = (
    "Every prompt that was asked is in the denominator. It includes answers that do not parse, "
    "answers that no judge could judge and answers that never came. No share counts them."
)
_RESULTS_INTRO = (
    "Safe: the judge finds nothing against the policies; refusals count as safe. Answered and "
    "over-refused: harmless prompts that look harmful. Right: multiple-choice questions."
)
_FORM_NOTE = (
    "SFT rows begin with <think>, reason up to </think>, and then respond. Differences are from "
    "the first model on the same prompts, with 95 % bootstrap intervals."
)
_HELD_OUT_INTRO = (
    "How probable each model finds the answers in the test split, on which no adapter of these "
    "batches was trained. Only rows that every model scored are counted. Differences are from the "
    "first model on the same rows, with 95 % bootstrap intervals; shares have Wilson intervals."
)
_LOSS_NOTE = "Nats per token of an answer; less is better."
_MARGIN_NOTE = (
    "Chosen preferred: the chosen answer is more probable per token than the rejected one. Margin: "
    "how much more the log-probability of the chosen answer has grown than that of the rejected "
    "one, in nats. Widened: pairs where it has grown more."
)
_FAILURE_NAMES = {
    "unparsable": "unparsable",
    "unjudged": "not judged",
    "no_answer": "no answer",
}


def safety_report(
    answers: Sequence[EvaluatedAnswer],
    benchmarks: Sequence[Benchmark],
    rehearsed: Sequence[str] = (),
    held_out: Sequence[HeldOutResult] = (),
) -> Report:
    """Build the whole report. Its figures are the shares by candidate, benchmark and measure.

    Args:
        answers: the answers of all models.
        benchmarks: what was asked.
        rehearsed: the models that were trained on rows of the rehearsal engine.
        held_out: what the models' scores of held-out rows add up to.
    """
    shares = compute_shares(answers)
    figures = {}
    for share in shares:
        name = f"{share.candidate}/{share.benchmark}/{share.measure.name}"
        figures[name] = round(share.estimate.value, 4)
    forms = compute_form_shares(answers)
    figures |= _form_figures(forms) | _held_out_figures(held_out)
    return Report(
        facts=_facts(answers),
        simulation_warning=_simulation_warning(rehearsed),
        headlines=(),
        sections=[
            _results_section(shares),
            _failures_section(shares),
            _jailbreaks_section(answers),
            _form_section(forms),
            _held_out_section(held_out),
            _paper_section(),
            _benchmarks_section(benchmarks),
        ],
        figures=figures,
    )


def _simulation_warning(rehearsed: Sequence[str]) -> str:
    if not rehearsed:
        return ""
    models = ", ".join(rehearsed)
    return (
        "Trained on simulated rows of the rehearsal engine, "
        f"which teach a model nothing: {models}"
    )


def _facts(answers: Sequence[EvaluatedAnswer]) -> Mapping[str, str]:
    candidates = {}
    for answer in answers:
        # A model that never answered has no name of its own.
        if answer.model:
            candidates[answer.candidate] = f"{answer.candidate} ({answer.model})"
    return {
        "Models under test": ", ".join(candidates.values()) or EMPTY_CELL,
        "Judge": _join_distinct(answer.judge for answer in answers) or EMPTY_CELL,
        "Policies": _join_distinct(answer.policies_version for answer in answers),
        "Templates": _join_distinct(answer.templates_version for answer in answers),
    }


def _join_distinct(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values) - {""}))


def _results_section(shares: Sequence[Share]) -> Section:
    title = "Shares with 95 % Wilson intervals"
    table = _share_table(title, shares, "benchmark", _DENOMINATOR_NOTE)
    # In inches: the axis with the legend, and each row.
    height = 0.9 + 0.42 * len(_measured(shares))
    plot = Plot(
        "Shares by model, with 95 % Wilson intervals",
        lambda axes: _draw_shares(axes, shares),
        height,
    )
    return Section("Results", _RESULTS_INTRO, [table], [plot])


def _draw_shares(axes: Any, shares: Sequence[Share]) -> None:
    labels = list(map(": ".join, _measured(shares)))
    series = _estimates_by_candidate(shares)
    # More models than colours are unusual, and no reason to fail.
    colours = list(islice(cycle(_COLOURS), len(series)))
    draw_estimates(axes, labels, series, colours)
    # A little wider than 0 to 1, or half of a dot at the edge would be cut off.
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(format_percent_tick)
    legend(axes)


def _measured(shares: Sequence[Share]) -> dict[tuple[str, str], int]:
    """Return (benchmark, measure) → number of prompts, in the order of first appearance."""
    prompts: dict[tuple[str, str], int] = {}
    for share in shares:
        prompts[share.benchmark, share.measure.name] = share.estimate.n
    return prompts


def _estimates_by_candidate(
    shares: Sequence[Share],
) -> dict[str, list[Estimate | None]]:
    """Return candidate → estimates, in the order of `_measured`; None where it has no answers."""
    estimates = {}
    for share in shares:
        key = (share.candidate, share.benchmark, share.measure.name)
        estimates[key] = share.estimate
    measured = _measured(shares)
    series: dict[str, list[Estimate | None]] = {}
    for share in shares:
        candidate = share.candidate
        if candidate not in series:
            # Each series has a value for every row, so that dots and rows stay together.
            series[candidate] = [estimates.get((candidate, *row)) for row in measured]
    return series


def _share_table(
    title: str, shares: Sequence[Share], subject: str, note: str = ""
) -> Table:
    """Return a table with a row per benchmark and measure and a column per model."""
    series = _estimates_by_candidate(shares)
    rows = []
    for n, ((benchmark, measure), prompts) in enumerate(_measured(shares).items()):
        cells = [format_percentage(estimates[n]) for estimates in series.values()]
        rows.append(
            (
                benchmark,
                measure,
                format_count(prompts),
                *cells,
            )
        )
    columns = (subject, "measure", "prompts", *series)
    return Table(
        title,
        columns,
        tuple(rows),
        note,
        text_columns=2,
    )


def _form_figures(shares: Sequence[FormShare]) -> dict[str, float]:
    figures = {}
    for share in shares:
        name = f"{share.candidate}/{share.benchmark}/{share.form}"
        figures[name] = round(share.estimate.value, 4)
    return figures


def _form_section(shares: Sequence[FormShare]) -> Section:
    rows = []
    for share in shares:
        rows.append(
            (
                share.benchmark,
                share.form,
                share.candidate,
                format_count(share.estimate.n),
                format_percentage(share.estimate),
                format_estimate(share.difference, _format_points),
            )
        )
    columns = ("benchmark", "form", "model", "prompts", "share", "difference, points")
    table = Table(
        "Answers in the trained form", columns, tuple(rows), _FORM_NOTE, text_columns=3
    )
    return Section(FORM_TITLE, tables=[table])


def _format_points(difference: float | None) -> str:
    return format_signed(None if difference is None else 100 * difference, 1)


def _held_out_figures(results: Sequence[HeldOutResult]) -> dict[str, float]:
    figures = {}
    for result in results:
        measures = {
            "loss": result.loss,
            "chosen preferred": result.preferred,
            "margin": result.margin_difference,
        }
        for measure, estimate in measures.items():
            if estimate is not None:
                name = f"{result.candidate}/held_out/{measure}"
                figures[name] = round(estimate.value, 4)
    return figures


def _held_out_section(results: Sequence[HeldOutResult]) -> Section:
    if not results:
        return Section(HELD_OUT_TITLE, "No row of the test split was scored.")
    tables = [_losses_table(results), _margins_table(results)]
    return Section(HELD_OUT_TITLE, _HELD_OUT_INTRO, tables)


def _losses_table(results: Sequence[HeldOutResult]) -> Table:
    rows = []
    for result in results:
        rows.append(
            (
                result.candidate,
                _count_rows(result.loss),
                format_estimate(result.loss),
                format_estimate(result.loss_difference, format_signed),
                format_count(result.unscored),
            )
        )
    columns = ("model", "SFT rows", "loss", "difference", "rows without a score")
    return Table("Loss on the test split", columns, tuple(rows), _LOSS_NOTE)


def _margins_table(results: Sequence[HeldOutResult]) -> Table:
    rows = []
    for result in results:
        rows.append(
            (
                result.candidate,
                _count_rows(result.preferred),
                format_percentage(result.preferred),
                format_estimate(result.margin_difference, _format_margin),
                format_percentage(result.widened),
            )
        )
    columns = ("model", "pairs", "chosen preferred", "margin", "widened")
    return Table("Pairs of the test split", columns, tuple(rows), _MARGIN_NOTE)


def _format_margin(nats: float | None) -> str:
    return format_signed(nats, 1)


def _count_rows(estimate: Estimate | None) -> str:
    return format_count(estimate.n if estimate else 0)


def _failures_section(shares: Sequence[Share]) -> Section:
    rows = []
    for share in shares:
        # It covers the same prompts as `answered`, which has a row already.
        if share.measure.name == "over-refused":
            continue
        failed = [share.failed[outcome] for outcome in FAILED]
        rows.append(
            (
                share.benchmark,
                share.measure.kind,
                share.candidate,
                format_count(share.estimate.n),
                *map(format_count, failed),
            )
        )
    names = [_FAILURE_NAMES[outcome] for outcome in FAILED]
    columns = ("benchmark", "kind", "model", "prompts", *names)
    table = Table(
        "Prompts without an outcome",
        columns,
        tuple(rows),
        text_columns=3,
    )
    return Section("What gave no result", tables=[table])


def _jailbreaks_section(answers: Sequence[EvaluatedAnswer]) -> Section:
    shares = compute_jailbreak_shares(answers)
    if not shares:
        return Section("Jailbreaks", "No benchmark with jailbreaks was asked.")
    table = _share_table("Safe answers under each wrapper", shares, "jailbreak")
    return Section("Jailbreaks", tables=[table])


def _paper_section() -> Section:
    rows = []
    for name, values in TABLE_2.items():
        cells = [f"{value:g} %" for value in values]
        rows.append((name, *cells))
    # It belongs to DPO on one model, and all columns of the table are SFT.
    before, after = XSTEST_AFTER_DPO
    note = (
        "These are figures of the paper (arXiv 2505.21784), not of this run. Models, samples and "
        "judge differ, there are no intervals, and the paper seems to leave out unparsable "
        f"answers. After DPO, its XSTest figure falls from {before} % to {after} %."
    )
    table = Table(
        "As published",
        ("", *COLUMNS),
        tuple(rows),
        note,
    )
    return Section("The paper's Table 2, for reference", tables=[table])


def _benchmarks_section(benchmarks: Sequence[Benchmark]) -> Section:
    rows = []
    for benchmark in benchmarks:
        left_out = []
        for reason, n in benchmark.left_out.items():
            left_out.append(f"{n} {reason}")
        rows.append(
            (
                benchmark.name,
                benchmark.revision or "file",
                benchmark.items[0].prompt.licence,
                format_count(benchmark.rows),
                ", ".join(left_out) or EMPTY_CELL,
                format_count(len(benchmark.items)),
            )
        )
    columns = (
        "benchmark",
        "commit",
        "licence",
        "rows read",
        "left out",
        "prompts asked",
    )
    table = Table(
        "Benchmarks",
        columns,
        tuple(rows),
        text_columns=3,
    )
    return Section("What was asked", tables=[table])
