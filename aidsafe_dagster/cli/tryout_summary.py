"""What a tryout came to: rows, failures, gates, money, and where it lies."""

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from aidsafe_dagster.cli.cards import Section, sections
from aidsafe_dagster.cli.console import quantity
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.recipe.records import EXCLUSION_REASONS
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.tryout.redraws import is_asked_again
from aidsafe_dagster.tryout.results import Tryout


def summary(tryout: Tryout) -> RenderableType:
    """Return the summary below the cards."""
    label = " · REHEARSAL" if tryout.facts.simulated else ""
    count = quantity(len(tryout.prompts), "prompt")
    title = Text(f"Tried {count}{label}", style="bold")
    return Group(Rule(title, align="left", style="cyan"), sections(_sections(tryout)))


def _sections(tryout: Tryout) -> Iterator[Section]:
    yield "Rows", Text(", ".join(_rows(tryout)))
    lines = list(_failures(tryout))
    if lines:
        yield "Failures", Text("\n".join(lines))
    again = sum(is_asked_again(failure) for failure in tryout.failures)
    if again:
        rows = quantity(again, "row")
        text = f"The next tryout asks the model again for {rows} that failed on its answers."
        yield "", Text(text, style="dim")
    yield from _gates(tryout)
    spending = Spending(tryout.new_usage, tryout.replayed)
    cost = describe_spending(spending, tryout.facts.currency)
    yield "Cost", Text(f"{cost}, {tryout.facts.seconds:.1f} s")
    if tryout.folder:
        yield "Kept in", Text(shown(tryout.folder))


def _rows(tryout: Tryout) -> Iterator[str]:
    yield f"prompts {len(tryout.prompts)}"
    for name, definition in STAGES.items():
        if definition.dialogue is not None and not definition.is_optional:
            yield f"{name} {len(tryout.rows(name))}"


def _failures(tryout: Tryout) -> Iterator[str]:
    counts = Counter((one.stage, one.reason) for one in tryout.failures)
    for (stage, reason), count in counts.most_common():
        verb = "left out" if reason in EXCLUSION_REASONS else "failed"
        yield f"{count} {verb} at {stage}: {reason}"


def _gates(tryout: Tryout) -> Iterator[Section]:
    held_back: Counter[tuple[str, str]] = Counter()
    for tried in tryout.prompts:
        for failure in tried.held_back.values():
            held_back[failure.stage, failure.reason] += 1
    for (stage, reason), count in held_back.most_common():
        rows = quantity(count, "row")
        text = f"! {rows} a run would hold back at {stage}: {reason}"
        yield "Gates", Text(text, style="yellow")
    closed = [one for one in tryout.suites if not one.passed]
    for verdict in closed:
        would = "would close" if verdict.closes else "would warn"
        text = f"! {verdict.stage}: {verdict.suite} {would}: {verdict.detail}"
        yield "Gates", Text(visible(text), style="yellow")
    if closed:
        share = 1 / max(1, len(tryout.prompts))
        yield (
            "",
            Text(
                f"A gate judges a batch. Here one prompt is {share:.0%} of it, so read "
                "shares and medians with care. Nothing was stopped.",
                style="dim",
            ),
        )
    elif tryout.suites and not held_back:
        yield "Gates", Text("all would be open", style="green")
