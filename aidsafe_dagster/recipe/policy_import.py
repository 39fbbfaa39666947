"""Drafting a policy from a document: numbered rules, each with the passage that it comes from.

The document is read part by part. A passage that is not in its part goes back to the model twice;
then the rule is left out, and told. A person edits what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, StringConstraints

from aidsafe_dagster.recipe.answers import (
    Answer,
    AnswerFormat,
    NotAnAnswer,
    ShortText,
    ThoughtText,
)
from aidsafe_dagster.recipe.dialogue import (
    MAX_REASKS,
    Conversation,
    Dialogue,
    DialogueContext,
)
from aidsafe_dagster.recipe.loops import tokens
from aidsafe_dagster.recipe.passages import Block, Passages
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.policy_editor import POLICY_WORK, editor_conversation
from aidsafe_dagster.recipe.records import Prompt, Role
from aidsafe_dagster.recipe.rule_wording import doubt

MOST_RULES = 999
"""A rule's number has three digits."""
_MOST_OF_PART = 24
_QUOTED_CHARS = 80
Quotation = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    Field(json_schema_extra={"x-chars": "thought_chars"}),
]


class DraftedRuleAnswer(Answer):
    # The passage first, so that the rule follows from it.
    passage: Quotation
    rule: ThoughtText


class DraftedRulesAnswer(Answer):
    rules: list[DraftedRuleAnswer] = Field(max_length=_MOST_OF_PART)


class PolicyHeadAnswer(Answer):
    # Not `title`, which JSON schemas have a meaning of their own for.
    heading: ShortText
    purpose: ThoughtText


@dataclass(frozen=True)
class Part:
    """As much of a document as is shown at once."""

    number: int
    """From 1."""
    of: int
    blocks: tuple[Block, ...]
    heading: str = ""
    """The heading under which it begins."""

    @property
    def text(self) -> str:
        return "\n\n".join(block.text for block in self.blocks)

    @property
    def place(self) -> str:
        first, last = self.blocks[0].place, self.blocks[-1].place
        return first if first == last else f"{first} to {last}"


@dataclass(frozen=True)
class DraftedRule:
    text: str
    passage: str
    place: str
    """Where the passage begins."""

    @property
    def doubt(self) -> str:
        """Why it may not follow from its passage, by their words; empty without a doubt."""
        return doubt(self.text, self.passage) or ""


@dataclass(frozen=True)
class DraftedPart:
    """What came of a part."""

    rules: tuple[DraftedRule, ...]
    unfounded: tuple[str, ...]
    """Rules that were left out, since their passage is not in the document."""


@dataclass(frozen=True)
class PolicyHead:
    title: str
    purpose: str


@dataclass(frozen=True)
class DraftInputs:
    prompt: Prompt
    policies: Policies
    part: Part


@dataclass(frozen=True)
class HeadInputs:
    prompt: Prompt
    policies: Policies
    title: str
    rules: tuple[str, ...]


@dataclass
class _PassageCheck:
    """Sends passages back that are not in the document; after the last re-ask it lets them pass."""

    passages: Passages
    asked: int = field(default=0)

    def __call__(self, answer: DraftedRulesAnswer) -> None:
        self.asked += 1
        if self.asked > MAX_REASKS:
            return
        for drafted in answer.rules:
            if self.passages.place(drafted.passage) is None:
                quoted = " ".join(drafted.passage.split())[:_QUOTED_CHARS]
                raise NotAnAnswer(
                    f"'{quoted}' is not in the document; copy each passage word for word from it, "
                    "or leave the rule out"
                )


def part_conversation(context: DialogueContext, part: Part) -> Conversation:
    return editor_conversation(context, part.text, "draft_rules", part.number)


def draft_rules(
    conversation: Conversation, part: Part, title: str
) -> Dialogue[DraftedPart]:
    """Draft the rules of one part of a document.

    Raises:
        RowFailed: no answer was valid.
    """
    context = conversation.context
    task = context.templates.task(POLICY_WORK, "draft_rules", part=part, title=title)
    passages = Passages(part.blocks)
    answer = yield from conversation.ask(
        Role.POLICY_EDITOR,
        task,
        AnswerFormat(DraftedRulesAnswer, {}, {}),
        DraftInputs(conversation.prompt, context.policies, part),
        check=_PassageCheck(passages),
    )
    rules = []
    unfounded = []
    for drafted in answer.rules:
        place = passages.place(drafted.passage)
        if place is None:
            unfounded.append(_one_line(drafted.rule))
        else:
            rule = DraftedRule(
                _one_line(drafted.rule), _one_line(drafted.passage), place
            )
            rules.append(rule)
    return DraftedPart(tuple(rules), tuple(unfounded))


def head_conversation(
    context: DialogueContext, title: str, rules: Sequence[str]
) -> Conversation:
    return editor_conversation(context, title, "head", *rules)


def draft_head(
    conversation: Conversation, title: str, rules: Sequence[str]
) -> Dialogue[PolicyHead]:
    """Write title and purpose of a policy.

    Raises:
        RowFailed: no answer was valid.
    """
    context = conversation.context
    task = context.templates.task(POLICY_WORK, "head", title=title, rules=rules)
    answer = yield from conversation.ask(
        Role.POLICY_EDITOR,
        task,
        AnswerFormat(PolicyHeadAnswer, {}, {}),
        HeadInputs(conversation.prompt, context.policies, title, tuple(rules)),
    )
    return PolicyHead(_one_line(answer.heading), _one_line(answer.purpose))


def merge_rules(parts: Sequence[DraftedPart]) -> list[DraftedRule]:
    """Return the rules of all parts in order, each wording once."""
    rules: dict[tuple[str, ...], DraftedRule] = {}
    for part in parts:
        for rule in part.rules:
            rules.setdefault(tuple(tokens(rule.text)), rule)
    return list(rules.values())


def split_document(blocks: Sequence[Block], most_chars: int) -> list[Part]:
    """Divide a document into parts of at most so many characters, between its blocks.

    A heading begins a part rather than ends one. A longer block is cut between sentences.
    """
    groups: list[list[Block]] = []
    length = 0
    for block in _cut_blocks(blocks, most_chars):
        if not groups or length + len(block.text) > most_chars:
            carried = _trailing_headings(groups)
            groups.append(carried)
            length = sum(len(heading.text) for heading in carried)
        groups[-1].append(block)
        length += len(block.text) + 2
    groups = [group for group in groups if group]
    headings = _headings_above(groups)
    return [
        Part(number, len(groups), tuple(group), headings[number - 1])
        for number, group in enumerate(groups, start=1)
    ]


def _trailing_headings(groups: list[list[Block]]) -> list[Block]:
    """Take the headings off the end of the last group, unless it has nothing else."""
    carried: list[Block] = []
    if groups and not all(block.is_heading for block in groups[-1]):
        while groups[-1][-1].is_heading:
            carried.insert(0, groups[-1].pop())
    return carried


def _headings_above(groups: Sequence[Sequence[Block]]) -> list[str]:
    """Return the last heading before each group."""
    headings = []
    latest = ""
    for group in groups:
        headings.append(latest)
        for block in group:
            if block.is_heading:
                latest = block.text
    return headings


def _cut_blocks(blocks: Sequence[Block], most_chars: int) -> list[Block]:
    cut = []
    for block in blocks:
        rest = block.text
        while len(rest) > most_chars:
            end = _sentence_end(rest, most_chars)
            cut.append(Block(rest[:end].strip(), block.place, block.is_heading))
            rest = rest[end:].strip()
        if rest:
            cut.append(Block(rest, block.place, block.is_heading))
    return cut


def _sentence_end(text: str, most: int) -> int:
    ends = [text.rfind(sign, 0, most) for sign in (". ", ".\n", "\n", "。", "; ", " ")]
    for end in ends:
        if end > most // 2:
            return end + 1
    return most


def _one_line(text: str) -> str:
    return " ".join(text.split())
