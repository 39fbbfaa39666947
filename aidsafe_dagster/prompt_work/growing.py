"""Growing: rounds of writing, sifting and placing, until nothing is missing or nothing comes.

Each round asks for what the rounds before have not brought. After a round that brought nothing,
and after the last one that the settings allow, it ends, whatever the model says.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aidsafe_dagster.policy_work.asking import Asked, Asker, OnPoll
from aidsafe_dagster.prompt_work.coverage import Cell, Coverage
from aidsafe_dagster.prompt_work.gaps import Gap, category_for, wanted_of
from aidsafe_dagster.prompt_work.sieve import (
    Candidate,
    Rejected,
    Sieve,
    Why,
    as_prompt,
    count_reasons,
)
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.grown_prompts import (
    MOST_AT_ONCE,
    GrowthSettings,
    Placement,
    WriterContext,
    grow_conversation,
    grow_prompts,
    load_writer_templates,
    place_conversation,
    place_prompt,
    writer_context,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.prompt_varieties import Variety, draw_variety
from aidsafe_dagster.recipe.records import Failure, FailureReason, Prompt, Role, Usage
from aidsafe_dagster.recipe.templates import PROMPT_WORK
from aidsafe_dagster.settings.schema import Settings

_MOST_SHOWN = 6
"""Prompts of a place that the writer is shown, for its own to differ from."""


@dataclass(frozen=True)
class Taken:
    """A prompt that passed."""

    candidate: Candidate
    category: str
    reason: str
    """Of the judge."""


@dataclass(frozen=True)
class Growth:
    """What came of growing."""

    asked: int
    """Prompts that were asked for, in all rounds."""
    taken: tuple[Taken, ...]
    rejected: tuple[Rejected, ...]
    rounds: int
    model: str
    simulated: bool
    usage: Usage
    replayed: int

    @property
    def counts(self) -> Mapping[Why, int]:
        """What is not there, by reason, in the order of `Why`."""
        return count_reasons(one.why for one in self.rejected)


class PromptWriter(Asker[WriterContext]):
    """Asks the writer of new prompts, and the judge who places them.

    Raises:
        SetupError: a template is missing.
    """

    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        log: Callable[[str], None] = lambda _: None,
        on_poll: OnPoll = lambda _: None,
    ) -> None:
        templates = load_writer_templates(settings.prompts)
        language = settings.grow.language_name

        def in_context(base: DialogueContext) -> WriterContext:
            return writer_context(base, templates, policies, language)

        super().__init__(settings, policies, PROMPT_WORK, in_context, log, on_poll)


class Growing:
    """The rounds.

    Args:
        writer: is asked.
        sieve: looks at what it writes.
        coverage: of the dataset as it is.
        known: all prompts of the dataset, with those of translations.
        settings: how many rounds.
        draw: how often the same was asked to an end before; each time other prompts are drawn.
    """

    def __init__(
        self,
        writer: PromptWriter,
        sieve: Sieve,
        coverage: Coverage,
        known: Sequence[Prompt],
        settings: GrowthSettings,
        draw: int,
    ) -> None:
        self._writer = writer
        self._sieve = sieve
        self._coverage = coverage
        self._known = list(known)
        self._settings = settings
        self._draw = draw
        self._shown = _texts_by_cell(coverage, known)
        self._numbers: Counter[Cell] = Counter()
        self._taken: list[Taken] = []
        self._rejected: list[Rejected] = []
        self._asked = 0
        self._calls = _Calls()

    def grow(self, gaps: Sequence[Gap]) -> Growth:
        """Grow prompts until nothing is missing, a round brings nothing, or the rounds are over.

        Raises:
            SetupError: no call can succeed. What was answered is in the journal.
        """
        missing = {gap.cell: gap.missing for gap in gaps}
        rounds = 0
        while missing and rounds < self._settings.rounds:
            taken = self._round(missing, self._draw * self._settings.rounds + rounds)
            rounds += 1
            if not taken:
                break
            for one in taken:
                missing[one.candidate.cell] -= 1
            missing = {cell: count for cell, count in missing.items() if count > 0}
        return Growth(
            self._asked,
            tuple(self._taken),
            tuple(self._rejected),
            rounds,
            self._calls.model,
            self._calls.simulated,
            self._calls.usage,
            self._calls.replayed,
        )

    def _round(self, missing: Mapping[Cell, int], draw: int) -> list[Taken]:
        candidates = self._write(missing, draw)
        left, rejected = self._sieve.sift(candidates, self._known)
        self._rejected.extend(rejected)
        taken = self._place(left, draw)
        for one in taken:
            text = one.candidate.text
            self._known.append(as_prompt(text))
            self._shown.setdefault(one.candidate.cell, []).append(text)
        self._taken.extend(taken)
        return taken

    def _write(self, missing: Mapping[Cell, int], draw: int) -> list[Candidate]:
        orders = self._orders(missing, draw)

        def make(context: WriterContext) -> list[DialogueTask[tuple[str, ...]]]:
            tasks = []
            for order in orders:
                wanted = wanted_of(order.cell, self._coverage.policies)
                conversation = grow_conversation(context, wanted, order.number, draw)
                dialogue = grow_prompts(
                    conversation,
                    wanted,
                    order.varieties,
                    self._shown.get(order.cell, [])[-_MOST_SHOWN:],
                    order.number,
                )
                tasks.append(DialogueTask(conversation, dialogue))
            return tasks

        asked = self._writer.ask(make, Role.PROMPT_WRITER)
        self._calls.add(asked, is_writer=True)
        candidates = []
        for order, result in zip(orders, asked.results, strict=True):
            self._asked += len(order.varieties)
            if isinstance(result, Failure):
                self._rejected.extend(_unanswered(order, result))
                continue
            for text, variety in zip(result, order.varieties, strict=True):
                candidates.append(Candidate(order.cell, text.strip(), variety))
        return candidates

    def _orders(self, missing: Mapping[Cell, int], draw: int) -> list["_Order"]:
        orders = []
        for cell, count in missing.items():
            for start in range(0, count, MOST_AT_ONCE):
                size = min(count - start, MOST_AT_ONCE)
                first = self._coverage.counts.get(cell, 0) + self._numbers[cell] + 1
                varieties = [
                    draw_variety(cell.name, cell.kind, number, draw)
                    for number in range(first, first + size)
                ]
                orders.append(_Order(cell, first, tuple(varieties)))
                self._numbers[cell] += size
        return orders

    def _place(self, candidates: Sequence[Candidate], draw: int) -> list[Taken]:
        if not candidates:
            return []
        policies = self._coverage.policies

        def make(context: WriterContext) -> list[DialogueTask[Placement]]:
            tasks = []
            for candidate in candidates:
                conversation = place_conversation(context, candidate.text, draw)
                subjects = self._subjects(candidate.cell, policies)
                dialogue = place_prompt(conversation, subjects)
                tasks.append(DialogueTask(conversation, dialogue))
            return tasks

        asked = self._writer.ask(make, Role.JUDGE)
        self._calls.add(asked, is_writer=False)
        taken = []
        for candidate, result in zip(candidates, asked.results, strict=True):
            rejected = _misplaced(candidate, result)
            if rejected or isinstance(result, Failure):
                self._rejected.extend(filter(None, [rejected]))
                continue
            category = category_for(candidate.cell, policies)
            taken.append(Taken(candidate, category, result.reason))
        return taken

    def _subjects(self, cell: Cell, policies: Policies) -> dict[str, str]:
        """Return what a judge chooses from, without a word on what was asked for."""
        if cell.subject == "rule":
            return {rule: policies.rule(rule) for rule in policies.rule_ids}
        names = {*filter(None, self._coverage.categories), cell.name}
        return {name: name for name in sorted(names)}


@dataclass(frozen=True)
class _Order:
    """Prompts that are asked for in one call."""

    cell: Cell
    number: int
    """Of the first of them, from 1, among those that were ever asked for in this place."""
    varieties: tuple[Variety, ...]


class _Calls:
    """What all calls took."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.replayed = 0
        self.model = ""
        self.simulated = False

    def add(self, asked: Asked[Any], *, is_writer: bool) -> None:
        self.usage += asked.usage
        self.replayed += asked.replayed
        self.simulated = self.simulated or asked.simulated
        if is_writer:
            self.model = asked.model


def _unanswered(order: _Order, failure: Failure) -> list[Rejected]:
    why = Why.NO_ANSWER
    if failure.reason is FailureReason.REFUSED_TO_DELIBERATE:
        why = Why.REFUSAL
    elif failure.reason is FailureReason.BAD_TEXT:
        why = Why.BAD_TEXT
    detail = f"{failure.reason}: {failure.detail}"
    return [Rejected(order.cell, why, detail) for _ in order.varieties]


def _misplaced(candidate: Candidate, result: Placement | Failure) -> Rejected | None:
    """Return why a judge's placement keeps a candidate out; None if it does not."""
    cell = candidate.cell
    if isinstance(result, Failure):
        detail = f"{result.reason}: {result.detail}"
        return Rejected(cell, Why.NOT_PLACED, detail, candidate.text)
    if cell.name not in result.subjects:
        named = ", ".join(result.subjects) or "nothing"
        detail = f"for {cell.name}, and the judge sees {named}"
        return Rejected(cell, Why.OFF_TOPIC, detail, candidate.text)
    if result.kind != cell.kind:
        detail = f"for {cell.kind}, and the judge sees {result.kind}"
        return Rejected(cell, Why.OTHER_KIND, detail, candidate.text)
    return None


def _texts_by_cell(
    coverage: Coverage, known: Sequence[Prompt]
) -> dict[Cell, list[str]]:
    """Return the texts of the prompts in each place, the latest last."""
    texts = {prompt.prompt_id: prompt.prompt for prompt in known}
    by_cell: dict[Cell, list[str]] = {}
    for prompt in coverage.prompts:
        for cell in coverage.cells_of(prompt):
            if prompt.prompt_id in texts:
                by_cell.setdefault(cell, []).append(texts[prompt.prompt_id])
    return by_cell
