"""A comparison as a report: facts, headlines and sections of tables, for terminal and page."""

from collections.abc import Sequence
from typing import Any

from aidsafe_dagster.comparisons.comparison import (
    AmountFigure,
    Comparison,
    CountFigure,
)
from aidsafe_dagster.comparisons.measures import Measures
from aidsafe_dagster.comparisons.sides import Side
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.reports.paper import METRIC_NAMES
from aidsafe_dagster.reports.plots import GREY, STRONG, draw_estimates
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Headline,
    Plot,
    Report,
    Section,
    Table,
    format_count,
    format_estimate,
    format_number,
    format_quantity,
    format_share,
    format_signed,
)

_MINUS = "\u2212"
B_MINUS_A = f"B {_MINUS} A"
_FEW = 30


def build_report(comparison: Comparison) -> Report:
    """Build the sections that there is data for."""
    return Report(
        facts=_facts(comparison),
        simulation_warning=_simulation_warning(comparison),
        headlines=_headlines(comparison),
        sections=_sections(comparison),
    )


def _sections(comparison: Comparison) -> list[Section]:
    sections = [
        _recipe_section(comparison),
        _outcome_section(comparison),
        _score_section(comparison),
        _refusal_section(comparison),
        _coverage_section(comparison),
        _cost_section(comparison),
    ]
    return [section for section in sections if section is not None]


def _simulation_warning(comparison: Comparison) -> str:
    sides = comparison.simulated_sides
    if not sides:
        return ""
    if len(sides) == 1:
        other = "B" if sides == ("A",) else "A"
        return (
            f"REHEARSAL: {sides[0]} was simulated by rule, and {other} was not. "
            "The differences say nothing about any model."
        )
    return (
        "REHEARSAL: every answer was simulated by rule, none came from a model. The differences "
        "show that the comparison works. They say nothing about any model."
    )


def _facts(comparison: Comparison) -> dict[str, str]:
    n = len(comparison.prompts)
    compared = format_quantity(n, "prompt", "prompts")
    only = (
        f"only in A: {format_count(comparison.only_a)}, "
        f"only in B: {format_count(comparison.only_b)}"
    )
    facts = {
        "A": _describe_side(comparison.a, [one.a for one in comparison.prompts]),
        "B": _describe_side(comparison.b, [one.b for one in comparison.prompts]),
        "Compared": f"{compared} in both; {only}",
    }
    for side, name in ((comparison.a, "A"), (comparison.b, "B")):
        if side.stale:
            facts[f"Half made ({name})"] = _half_made(side)
    return facts


def _half_made(side: Side) -> str:
    lines = []
    for batch, stages in side.stale.items():
        lines.append(f"{batch} ({', '.join(sorted(stages))})")
    return (
        f"{'; '.join(lines)}: still of the version before, and so not counted here. "
        "`aidsafe backfill` makes them again"
    )


def _describe_side(side: Side, measures: Sequence[Measures]) -> str:
    models: set[str] = set()
    for one in measures:
        models |= one.models
    known = ", ".join(sorted(models)) or "no rows"
    return f"{side.name}: {side.description}; models: {known}"


def _headlines(comparison: Comparison) -> list[Headline]:
    n = len(comparison.prompts)
    changed = len(comparison.changed)
    headlines = [
        Headline(format_count(changed), f"of {n:,} prompts came out otherwise"),
    ]
    scores = {figure.metric: figure for figure in comparison.scores}
    difference = scores["policy_to_response"].difference
    if difference is not None:
        headline = Headline(
            format_signed(difference.value),
            f"response faithful to policy, {B_MINUS_A}, "
            f"{format_quantity(difference.n, 'prompt', 'prompts')}",
            _interval(difference),
        )
        headlines.append(headline)
    by_name = {figure.name: figure for figure in comparison.outcomes}
    refusals = by_name["refuses in full"]
    headlines.append(
        Headline(
            f"+{refusals.gained} {_MINUS}{refusals.lost}",
            "full refusals gained and lost",
        )
    )
    failed = by_name["failed before that"]
    headlines.append(
        Headline(f"{failed.a} → {failed.b}", "prompts that failed before a response")
    )
    if comparison.money:
        money = comparison.money
        currency = comparison.currency or ""
        headlines.append(
            Headline(
                f"{format_money(money.a)} → {format_money(money.b)}",
                f"money for these prompts, {currency}".rstrip(", "),
            )
        )
    return headlines


def _interval(estimate: Estimate) -> str:
    if estimate.low is None:
        return ""
    return f"[{format_signed(estimate.low)}, {format_signed(estimate.high)}]"


def _recipe_section(comparison: Comparison) -> Section:
    title = "What differs"
    rows = []
    for difference in comparison.recipes:
        count = format_quantity(len(difference.batches), "batch", "batches")
        changes = difference.changes or ("nothing that text depends on",)
        rows += [(change, count) for change in changes]
    if all(not one.changes for one in comparison.recipes):
        return Section(
            title,
            "Both sides were made under the same recipe: the same policies, templates, models "
            "and settings.",
        )
    table = Table("In the recipe", ("what", "of"), tuple(rows), text_columns=2)
    return Section(title, "", [table])


def _outcome_section(comparison: Comparison) -> Section:
    n = len(comparison.prompts)
    rows = []
    for figure in comparison.outcomes:
        rows.append(
            (
                figure.name,
                *_count_cells(figure),
                _points(figure.difference),
            )
        )
    note = (
        f"n = {format_quantity(n, 'prompt', 'prompts')}: all that both sides have, those that "
        f"failed as well. {B_MINUS_A} in points of a hundred, with 95 % intervals for matched "
        "pairs (Bonett and Price)."
    )
    tables = [
        Table(
            "Prompts",
            ("with …", "A", "B", "only A", "only B", B_MINUS_A),
            tuple(rows),
            note,
        )
    ]
    if comparison.failures:
        failures = [
            (reason, format_count(a), format_count(b))
            for reason, a, b in comparison.failures
        ]
        tables.append(Table("Reasons", ("stage and reason", "A", "B"), tuple(failures)))
    counts = comparison.changes_by_kind()
    if counts:
        changes = [
            (kind, format_count(count), format_share(count, n))
            for kind, count in counts.items()
        ]
        tables.append(
            Table(
                "What came out otherwise", ("what", "prompts", "share"), tuple(changes)
            )
        )
    return Section("Outcomes", "", tables)


def _score_section(comparison: Comparison) -> Section | None:
    title = "Scores"
    n = max(
        (one.difference.n for one in comparison.scores if one.difference), default=0
    )
    if not n:
        return Section(title, "No prompt is graded by the same judge on both sides.")
    rows = []
    marked = set()
    for place, figure in enumerate(comparison.scores):
        rows.append(
            (
                METRIC_NAMES[figure.metric],
                format_number(figure.a),
                format_number(figure.b),
                format_estimate(figure.difference, format_signed),
                format_count(figure.higher),
                format_count(figure.lower),
            )
        )
        if _is_clear(figure.difference):
            marked.add(place)
    table = Table(
        "Means from 1 to 5",
        ("metric", "A", "B", B_MINUS_A, "up", "down"),
        tuple(rows),
        _score_note(n, comparison),
        marked=frozenset(marked),
    )
    plot = Plot(f"{B_MINUS_A}, in points", lambda axes: _draw(axes, comparison))
    return Section(title, _judging(comparison), [table], [plot])


def _score_note(n: int, comparison: Comparison) -> str:
    total = len(comparison.prompts)
    note = (
        f"n = {n:,} of {total:,} prompts: those that a judge graded on both sides. Differences are "
        "paired, with 95 % bootstrap intervals; marked where the interval does not span 0. "
        "Up and down: prompts with a higher or lower score in B."
    )
    if n < _FEW:
        note += " Few prompts: a difference of this size may be chance."
    return note


def _judging(comparison: Comparison) -> str:
    changed = comparison.judges_changed
    if changed:
        return (
            f"The judge is another one: {changed[0]} → {changed[1]}. A difference may be the "
            "judges' and not the rows'."
        )
    is_policy = any(
        change.startswith("policies")
        for difference in comparison.recipes
        for change in difference.changes
    )
    if is_policy:
        return "Each side was judged under its own policies."
    return ""


def _draw(axes: Any, comparison: Comparison) -> None:
    labels = [METRIC_NAMES[figure.metric] for figure in comparison.scores]
    differences = [figure.difference for figure in comparison.scores]
    # An interval that crosses this line shows no clear difference.
    axes.axvline(0, color=GREY, linewidth=1)
    draw_estimates(axes, labels, {B_MINUS_A: differences}, [STRONG])


def _refusal_section(comparison: Comparison) -> Section | None:
    title = "Refusals"
    if not comparison.refusals:
        return Section(title, "No prompt is graded on both sides.")
    rows = []
    for kind, how_far, figure in comparison.refusals:
        rows.append(
            (
                f"{kind}, {how_far}",
                format_count(figure.n),
                *_count_cells(figure),
                _points(figure.difference),
            )
        )
    n, total = comparison.graded_on_both, len(comparison.prompts)
    note = (
        f"Of the {n:,} of {total:,} prompts that are graded on both sides, as the judge that sees "
        "the furthest refusal says. On benign prompts a refusal is needless. A refusal that is "
        "only in B was gained, one only in A was lost."
    )
    columns = ("prompts", "n", "A", "B", "only A", "only B", B_MINUS_A)
    return Section(
        title, "", [Table("Responses that decline", columns, tuple(rows), note)]
    )


def _coverage_section(comparison: Comparison) -> Section | None:
    if not comparison.coverage:
        return None
    rows = []
    for figure in comparison.coverage:
        rows.append((figure.name, *_count_cells(figure), _points(figure.difference)))
    n = len(comparison.prompts)
    note = (
        f"Prompts whose final chain of thought cites a rule of the policy, of all {n:,} that both "
        "sides have."
    )
    columns = ("policy", "A", "B", "only A", "only B", B_MINUS_A)
    table = Table("Prompts that cite a policy", columns, tuple(rows), note)
    return Section("Policy coverage", "", [table])


def _cost_section(comparison: Comparison) -> Section | None:
    rows = [_amount_row(figure) for figure in comparison.amounts]
    note = (
        "Over the prompts that both sides have; rows that failed are paid for as well. An answer "
        "that was replayed counts with what it took once."
    )
    if comparison.money:
        money = comparison.money
        currency = comparison.currency or ""
        rows.append(
            (
                f"money, {currency}" if currency else "money",
                format_money(money.a),
                format_money(money.b),
                _ratio(money),
                format_estimate(money.difference, _signed_money),
            )
        )
    if comparison.currency is None:
        note += (
            f" Money is not compared: A is in {comparison.a.currency}, B in "
            f"{comparison.b.currency}."
        )
    columns = ("", "A", "B", "B / A", f"{B_MINUS_A}, a prompt")
    tables = [Table("Calls and tokens", columns, tuple(rows), note)]
    stages = [
        (
            stage,
            format_count(a.calls),
            format_count(b.calls),
            format_count(a.completion_tokens),
            format_count(b.completion_tokens),
        )
        for stage, (a, b) in comparison.usage_by_stage.items()
    ]
    if stages:
        columns = ("stage", "calls A", "calls B", "tokens out A", "tokens out B")
        tables.append(Table("By stage", columns, tuple(stages)))
    return Section("Cost", "", tables)


def _amount_row(figure: AmountFigure) -> tuple[str, ...]:
    difference = format_estimate(
        figure.difference, lambda value: format_signed(value, 1)
    )
    return (
        figure.name,
        format_count(round(figure.a)),
        format_count(round(figure.b)),
        _ratio(figure),
        difference,
    )


def _ratio(figure: AmountFigure) -> str:
    return format_number(figure.b / figure.a) if figure.a else EMPTY_CELL


def _signed_money(value: float | None) -> str:
    if value is None:
        return EMPTY_CELL
    sign = "+" if value > 0 else ""
    return f"{sign}{format_money(value)}".replace("-", _MINUS)


def _count_cells(figure: CountFigure) -> tuple[str, ...]:
    return tuple(
        format_count(count)
        for count in (figure.a, figure.b, figure.lost, figure.gained)
    )


def _points(difference: Estimate | None) -> str:
    """Return a difference of shares in points of a hundred."""
    if difference is None:
        return EMPTY_CELL
    return format_estimate(
        difference,
        lambda value: format_signed(None if value is None else 100 * value, 1),
    )


def _is_clear(difference: Estimate | None) -> bool:
    if difference is None or difference.low is None or difference.high is None:
        return False
    return difference.low > 0 or difference.high < 0
