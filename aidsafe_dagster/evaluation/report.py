"""The report on a safety evaluation: the paper's Table 2 for the models under test, with its own beside."""

from collections.abc import Mapping, Sequence
from typing import Any

from aidsafe_dagster.evaluation.items import Benchmark
from aidsafe_dagster.evaluation.paper import COLUMNS, TABLE_2, XSTEST_AFTER_DPO
from aidsafe_dagster.evaluation.results import Share, by_jailbreak, shares
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
    legend,
)
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Plot,
    Report,
    Section,
    Table,
    format_count,
    percentage,
)

TITLE = "Safety evaluation"
_COLOURS = (GREY, STRONG, WARM, MIDDLE, HOT, LIGHT)
_DENOMINATOR = (
    "Every prompt that was asked is in the denominator. Answers that do not parse, answers that no judge could judge "
    "and answers that never came format_count in it, and in no share."
)
_WORDS = {"unparsable": "unparsable", "unjudged": "not judged", "no_answer": "no answer"}


def safety_report(
    answers: Sequence[EvaluatedAnswer],
    benchmarks: Sequence[Benchmark],
    rehearsed: Sequence[str] = (),
) -> Report:
    """All of it; its figures are the shares by candidate, benchmark and measure.

    `rehearsed` are the models that were trained on rows of the rehearsal engine.
    """
    found = shares(answers)
    return Report(
        facts=_facts(answers),
        simulated=_warning(rehearsed),
        headlines=(),
        sections=[
            _results(found),
            _failures(found),
            _jailbreaks(answers),
            _paper(),
            _asked(benchmarks),
        ],
        figures={
            f"{s.candidate}/{s.benchmark}/{s.measure.name}": round(s.estimate.value, 4)
            for s in found
        },
    )


def _warning(rehearsed: Sequence[str]) -> str:
    if not rehearsed:
        return ""
    return f"Trained on simulated rows of the rehearsal engine, which teach a model nothing: {', '.join(rehearsed)}"


def _facts(answers: Sequence[EvaluatedAnswer]) -> Mapping[str, str]:
    served = {answer.candidate: answer.model for answer in answers if answer.model}
    return {
        "Models under test": ", ".join(f"{name} ({model})" for name, model in served.items())
        or EMPTY_CELL,
        "Judge": ", ".join(sorted({answer.judge for answer in answers if answer.judge})) or EMPTY_CELL,
        "Policies": ", ".join(sorted({answer.policies_version for answer in answers})),
        "Templates": ", ".join(sorted({answer.templates_version for answer in answers})),
    }


def _results(found: Sequence[Share]) -> Section:
    table = _table("Shares with 95 % Wilson intervals", found, "benchmark", _DENOMINATOR)
    lines = _lines(found)

    def draw(axes: Any) -> None:
        names = [f"{benchmark}: {measure}" for benchmark, measure in lines]
        draw_estimates(axes, names, _series(found, lines), _colours(found))
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        legend(axes)

    plot = Plot("Shares by model, with 95 % Wilson intervals", draw, height=0.9 + 0.42 * len(lines))
    intro = (
        "Safe: the judge finds nothing that goes against the policies, refusals included. Answered and over-refused: "
        "harmless prompts that look harmful. Right: multiple-choice questions."
    )
    return Section("Results", intro, [table], [plot])


def _lines(found: Sequence[Share]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((share.benchmark, share.measure.name) for share in found))


def _candidates(found: Sequence[Share]) -> list[str]:
    return list(dict.fromkeys(share.candidate for share in found))


def _series(
    found: Sequence[Share], lines: Sequence[tuple[str, str]]
) -> dict[str, list[Estimate | None]]:
    known = {
        (share.candidate, share.benchmark, share.measure.name): share.estimate for share in found
    }
    return {
        candidate: [known.get((candidate, *line)) for line in lines]
        for candidate in _candidates(found)
    }


def _colours(found: Sequence[Share]) -> list[str]:
    return [_COLOURS[n % len(_COLOURS)] for n in range(len(_candidates(found)))]


def _table(title: str, found: Sequence[Share], what: str, note: str = "") -> Table:
    """A line per benchmark and measure, a column per model."""
    lines, candidates = _lines(found), _candidates(found)
    series = _series(found, lines)
    asked = {(share.benchmark, share.measure.name): share.estimate.n for share in found}
    rows = tuple(
        (*line, format_count(asked[line]), *(percentage(series[candidate][n]) for candidate in candidates))
        for n, line in enumerate(lines)
    )
    return Table(title, (what, "measure", "prompts", *candidates), rows, note, words=2)


def _failures(found: Sequence[Share]) -> Section:
    rows = tuple(
        (
            share.benchmark,
            share.measure.kind,
            share.candidate,
            format_count(share.estimate.n),
            *(format_count(share.failed[outcome]) for outcome in FAILED),
        )
        for share in found
        if share.measure.name != "over-refused"  # of the same prompts as `answered`
    )
    columns = ("benchmark", "kind", "model", "prompts", *(_WORDS[outcome] for outcome in FAILED))
    return Section(
        "What gave no result", tables=[Table("Prompts without an outcome", columns, rows, words=3)]
    )


def _jailbreaks(answers: Sequence[EvaluatedAnswer]) -> Section:
    found = by_jailbreak(answers)
    tables = [_table("Safe answers under each wrapper", found, "jailbreak")] if found else []
    return Section(
        "Jailbreaks", "" if tables else "No benchmark with jailbreaks was asked.", tables
    )


def _paper() -> Section:
    rows = tuple((name, *(f"{value:g} %" for value in values)) for name, values in TABLE_2.items())
    before, after = XSTEST_AFTER_DPO
    note = (
        "Figures of the paper (arXiv 2505.21784), not of this run: other models, samples and judge, no intervals, and "
        f"unparsable answers seem to be left out. After DPO, its XSTest falls from {before} % to {after} %."
    )
    return Section(
        "The paper's Table 2, for reference",
        tables=[Table("As published", ("", *COLUMNS), rows, note)],
    )


def _asked(benchmarks: Sequence[Benchmark]) -> Section:
    rows = tuple(
        (
            benchmark.name,
            benchmark.revision or "file",
            benchmark.items[0].prompt.licence,
            format_count(benchmark.rows),
            ", ".join(f"{n} {reason}" for reason, n in benchmark.left_out.items()) or EMPTY_CELL,
            format_count(len(benchmark.items)),
        )
        for benchmark in benchmarks
    )
    columns = ("benchmark", "commit", "licence", "rows read", "left out", "prompts asked")
    return Section("What was asked", tables=[Table("Benchmarks", columns, rows, words=3)])
