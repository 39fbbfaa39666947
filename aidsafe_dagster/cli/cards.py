"""Cards: one tried prompt on the terminal, from its intents to its preference pair.

What users, models and servers wrote reaches the terminal as text alone: no markup, and control
characters as escapes. Verdicts are told by a sign and a word, so that nothing hangs on colour.
"""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.failed_rows import failed_answer_panel
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    METRICS,
    CotRow,
    Failure,
    Grade,
    Intent,
    Message,
    PreferencePair,
    RefinedCot,
    Stage,
    Thought,
    ThoughtVerdict,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets
from aidsafe_dagster.tryout.results import PromptOutcome, TriedPrompt

_LABEL_WIDTH = 9
_BEST_SCORE = 5
Section = tuple[str, RenderableType]
"""A label and what stands beside it."""


def card(tried: TriedPrompt, place: str, settings: Settings) -> RenderableType:
    """Return the card of one prompt.

    Args:
        tried: the prompt and what became of it.
        place: among the prompts, such as '2 of 5'.
        settings: of the tryout; their journal holds the answers that failed.
    """
    return Group(heading(tried, place), sections(_sections(tried, settings)), Text())


def heading(tried: PromptOutcome, place: str) -> Rule:
    """Return the line above a card: which prompt, of what kind, simulated or not."""
    parts = [place, tried.prompt.prompt_id]
    if tried.grades:
        parts.append(tried.grades.prompt_kind)
    if tried.is_simulated:
        parts.append("REHEARSAL")
    title = Text(" · ".join(parts), style="bold")
    return Rule(title, align="left", style="cyan")


def sections(parts: Iterable[Section]) -> Table:
    """Return labelled sections below each other, wrapped at words."""
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(width=_LABEL_WIDTH, style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, content in parts:
        table.add_row(label, content)
    return table


def plain(text: str, style: str = "") -> Text:
    """Return text that is not ours, as it is."""
    return Text(visible(text).strip(), style=style)


def _sections(tried: TriedPrompt, settings: Settings) -> Iterator[Section]:
    yield from _labelled("Before", map(_turn, tried.prompt.earlier))
    yield "Prompt", plain(tried.prompt.prompt)
    best = _furthest(tried)
    if best is not None:
        yield from _labelled("Intents", map(_intent, best.intents))
    yield from _labelled("Thoughts", _thoughts(tried))
    if tried.refined:
        yield from _labelled("Final", _final_thoughts(tried.refined))
    if best is not None:
        label = "Response" if tried.refined else "So far"
        yield label, plain(best.response)
    if tried.grades:
        own = [one for one in tried.grades.grades if one.version == "refined"]
        yield from _labelled("Scores", _scores(own))
        for ungraded in tried.grades.ungraded:
            yield "", plain(f"✗ {ungraded.judge}, {ungraded.task}: {ungraded.detail}")
    if tried.pair:
        yield from _labelled("Pair", _pair(tried.pair))
    yield from _told_gates(tried, settings)
    for failure in tried.failures.values():
        yield from _failure(failure, settings)
    spending = Spending(tried.spent.new, tried.replayed)
    cost = describe_spending(spending, settings.currency)
    yield "Cost", Text(f"{cost}, {tried.spent.seconds:.1f} s", style="dim")


def _turn(turn: Message) -> RenderableType:
    return plain(f"{turn.role}: {turn.content}", style="dim")


def _labelled(label: str, contents: Iterable[RenderableType]) -> Iterator[Section]:
    """Yield a section whose first line alone has the label."""
    for content in contents:
        yield label, content
        label = ""


def _furthest(tried: TriedPrompt) -> CotRow | None:
    """Return the row of the latest stage that wrote a response."""
    for stage in (Stage.REFINED_COTS, Stage.DELIBERATED_COTS, Stage.SEED_COTS):
        row = tried.rows.get(stage)
        if isinstance(row, CotRow):
            return row
    return None


def _intent(intent: Intent) -> Text:
    text = plain(f"• {intent.text}")
    text.append(f" ({intent.kind}, {intent.harm})", style="dim")
    return _with_rules(text, intent.policies)


def _thoughts(tried: TriedPrompt) -> Iterator[Text]:
    refined = tried.refined
    if refined is None:
        row = _furthest(tried)
        for thought in getattr(row, "thoughts", ()):
            yield _thought(thought)
        return
    judgements = {one.thought: one for one in refined.judgements}
    for thought in refined.deliberated_thoughts:
        text = _thought(thought)
        judgement = judgements.get(thought.number)
        if judgement is None:
            yield text
            continue
        is_kept = judgement.verdict is ThoughtVerdict.KEEP
        if is_kept:
            text.append("\n✓ kept", style="green")
        else:
            verdict = str(judgement.verdict).replace("_", "-")
            text.append(f"\n✗ dropped, {verdict}: ", style="red")
            text.append_text(plain(judgement.reason))
        yield text


def _thought(thought: Thought) -> Text:
    author = f"[{thought.number}] {thought.agent}, round {thought.round}: "
    text = Text(author, style="cyan")
    body = Text(style="")
    body.append_text(text)
    body.append_text(plain(thought.text))
    return _with_rules(body, thought.rules)


def _final_thoughts(refined: RefinedCot) -> Iterator[Text]:
    for thought in refined.thoughts:
        text = plain(f"{thought.number}. {thought.text}")
        text = _with_rules(text, thought.rules)
        origins = ", ".join(map(str, thought.origins))
        yield text.append(f" ← [{origins}]", style="dim")


def _with_rules(text: Text, rules: Iterable[str]) -> Text:
    for rule in rules:
        text.append(f" {visible(rule)}", style="magenta")
    return text


def _scores(grades: list[Grade]) -> Iterator[Text]:
    for grade in grades:
        scores = []
        for metric in METRICS:
            scores.append(f"{metric} {getattr(grade, metric).score}")
        yield Text(f"{grade.judge}: {', '.join(scores)}; refuses: {grade.refusal}")
        for metric in METRICS:
            score = getattr(grade, metric)
            style = "" if score.score == _BEST_SCORE else "yellow"
            text = Text(f"  {metric} {score.score}: ", style=style)
            yield text.append_text(plain(score.reason, "dim"))


def _pair(pair: PreferencePair) -> Iterator[Text]:
    kind = pair.kind.replace("_", " ")
    yield Text(
        f"{kind}, margin {pair.margin:.2f} "
        f"(chosen {pair.chosen_score:.2f}, rejected {pair.rejected_score:.2f})"
    )
    yield Text("belief: ", style="dim").append_text(plain(pair.belief))
    yield Text("chosen: ", style="green").append("the final thoughts and response")
    rejected = Text("rejected: ", style="red")
    rejected.append_text(plain(f"{pair.rejected_cot}\n→ {pair.rejected_response}"))
    yield rejected


def _told_gates(tried: TriedPrompt, settings: Settings) -> Iterator[Section]:
    for failure in tried.held_back.values():
        text = Text("! ", style="yellow")
        text.append(f"a run would hold it back at {failure.stage}, {failure.reason}: ")
        yield "Gate", text.append_text(plain(mask_secrets(failure.detail, settings)))
    if tried.low_scores:
        text = Text("! ", style="yellow")
        yield "Gate", text.append(f"below the score gate: {tried.low_scores}")


def _failure(failure: Failure, settings: Settings) -> Iterator[Section]:
    is_left_out = failure.reason in EXCLUSION_REASONS
    label = "Left out" if is_left_out else "Failed"
    text = Text("✗ ", style="yellow" if is_left_out else "red")
    text.append(f"{failure.stage}, {failure.reason}: ")
    text.append_text(plain(mask_secrets(failure.detail, settings)))
    yield label, text
    if not is_left_out:
        answer = failed_answer_panel(failure, settings)
        if answer is not None:
            yield "", answer
