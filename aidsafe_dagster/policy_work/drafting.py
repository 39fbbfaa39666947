"""Drafting a policy from a document, and the TOML file that a person then edits."""

import asyncio
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aidsafe_dagster.policy_work.asking import Asked, PolicyEditor
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.foreign_text import storable
from aidsafe_dagster.recipe.policies import Policy
from aidsafe_dagster.recipe.policy_import import (
    MOST_RULES,
    DraftedPart,
    DraftedRule,
    Part,
    PolicyHead,
    draft_head,
    draft_rules,
    head_conversation,
    merge_rules,
    part_conversation,
    split_document,
)
from aidsafe_dagster.recipe.records import Failure, Role, Usage
from aidsafe_dagster.recipe.toml_text import parse_toml
from aidsafe_dagster.settings.role_servers import server_of
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.documents import Document
from aidsafe_dagster.stages.failed_answers import visible

PART_CHARS = 6000
"""Shown at once where the context length is not known."""
_LEAST_PART_CHARS = 1500
_TOKENS_BESIDE = 3000
"""Of the system message, the task and the answer."""
_CHARS_PER_TOKEN = 2
"""Few, so that a part fits in any script."""
_COMMENT_WIDTH = 96
_NO_PURPOSE = "Say here in a sentence or two what this policy protects, and whom."


@dataclass(frozen=True)
class PolicyDraft:
    """What came of a document."""

    document: Document
    parts: tuple[Part, ...]
    rules: tuple[DraftedRule, ...]
    head: PolicyHead
    unfounded: tuple[str, ...]
    """Rules that were left out: their passage is not in the document."""
    failed: tuple[tuple[Part, Failure], ...]
    """Parts of which no answer was valid."""
    repeated: int
    """Rules that were drafted twice in the same words."""
    model: str
    simulated: bool
    usage: Usage
    replayed: int


def draft_policy(
    document: Document, settings: Settings, editor: PolicyEditor
) -> PolicyDraft:
    """Draft the rules of a document, part by part, then title and purpose.

    Raises:
        SetupError: no call can succeed.
    """
    parts = split_document(document.blocks, _part_chars(settings))

    def of_parts(context: DialogueContext) -> list[DialogueTask[DraftedPart]]:
        tasks = []
        for part in parts:
            conversation = part_conversation(context, part)
            dialogue = draft_rules(conversation, part, document.title)
            tasks.append(DialogueTask(conversation, dialogue))
        return tasks

    asked = editor.ask(of_parts, Role.POLICY_EDITOR)
    drafted = asked.answers
    rules = merge_rules(drafted)
    unfounded: list[str] = []
    for part_result in drafted:
        unfounded.extend(part_result.unfounded)
    head, head_asked = _head(document, rules, editor)
    failed = []
    for part, result in zip(parts, asked.results, strict=True):
        if isinstance(result, Failure):
            failed.append((part, result))
    return PolicyDraft(
        document=document,
        parts=tuple(parts),
        rules=tuple(rules[:MOST_RULES]),
        head=head,
        unfounded=(*unfounded, *(rule.text for rule in rules[MOST_RULES:])),
        failed=tuple(failed),
        repeated=sum(len(one.rules) for one in drafted) - len(rules),
        model=asked.model,
        simulated=asked.simulated,
        usage=asked.usage + (head_asked.usage if head_asked else Usage()),
        replayed=asked.replayed + (head_asked.replayed if head_asked else 0),
    )


def _head(
    document: Document, rules: Sequence[DraftedRule], editor: PolicyEditor
) -> tuple[PolicyHead, Asked[PolicyHead] | None]:
    title = document.title
    texts = [rule.text for rule in rules]
    if not texts:
        return PolicyHead(title, ""), None

    def of_head(context: DialogueContext) -> list[DialogueTask[PolicyHead]]:
        conversation = head_conversation(context, title, texts)
        return [DialogueTask(conversation, draft_head(conversation, title, texts))]

    asked = editor.ask(of_head, Role.POLICY_EDITOR)
    # A person edits it in any case, so the rules are not lost for the want of a title.
    head = asked.answers[0] if asked.answers else PolicyHead(title, "")
    return head, asked


def _part_chars(settings: Settings) -> int:
    """Return how much of a document fits what the model holds, in characters."""
    server = server_of(settings, str(Role.POLICY_EDITOR))
    if server is None:
        return PART_CHARS
    length = settings.vllm.max_model_len if settings.engine == "vllm" else None
    if length is None and server.base_url:
        # It imports an HTTP client, which a rehearsal needs not.
        from aidsafe_dagster.engines.server_facts import (  # noqa: PLC0415
            context_length,
        )

        length = asyncio.run(context_length(server))
    if length is None:
        return PART_CHARS
    fits = (length - _TOKENS_BESIDE) * _CHARS_PER_TOKEN
    return min(max(fits, _LEAST_PART_CHARS), PART_CHARS)


def policy_id_of(path: Path) -> str:
    """Return an id of a policy by a document's name."""
    words = re.findall(r"[A-Za-z0-9]+", path.stem)
    name = "_".join(words).lower()[:60].strip("_")
    if not name:
        return "imported"
    return name if name[0].isalpha() else f"policy_{name}"


def policy_toml(draft: PolicyDraft, policy_id: str, origin: str) -> str:
    """Return the draft as a policy file, each rule below the passage that it comes from.

    Args:
        draft: with a rule at least.
        policy_id: of the policy.
        origin: name of the document.

    Raises:
        SetupError: the id cannot be one.
    """
    title = draft.head.title or draft.document.title or policy_id
    purpose = draft.head.purpose or _NO_PURPOSE
    lines = [
        *_comment(_origin_note(draft, origin)),
        "",
        f"id = {toml_string(policy_id)}",
        f"title = {toml_string(title)}",
        f"purpose = {toml_string(purpose)}",
        '# or "always": every chain of thought has to cover it',
        'applies = "when_relevant"',
        "# categories of prompts that it always applies to",
        "categories = []",
        "",
        "[rules]",
    ]
    for number, rule in enumerate(draft.rules, start=1):
        lines.append("")
        lines.extend(_comment(f"{rule.place}: “{rule.passage}”"))
        if rule.doubt:
            lines.extend(_comment(f"Check this one: {rule.doubt}."))
        lines.append(f"{number} = {toml_string(rule.text)}")
    text = "\n".join([*lines, *_left_out(draft)]) + "\n"
    # What the file says is what every other command will read.
    try:
        Policy.model_validate(parse_toml(text, policy_id))
    except ValueError as error:
        raise SetupError(
            f"--id {policy_id}: letters, digits and underscores, a letter first, 64 at most"
        ) from error
    return text


def _origin_note(draft: PolicyDraft, origin: str) -> str:
    who = f"{draft.model}, a rehearsal by rule and no model" if draft.simulated else ""
    return (
        f"Drafted from {origin} by {who or draft.model}. Nobody has checked it: edit it, then move "
        "it to the other policies. Above each rule stands the passage that it comes from; agents "
        "see none of these comments."
    )


def _left_out(draft: PolicyDraft) -> Iterator[str]:
    if draft.unfounded:
        yield ""
        yield from _comment("Left out, since no passage of the document says so:")
        for text in draft.unfounded:
            yield from _comment(f"- {text}")
    if draft.failed:
        yield ""
        for part, failure in draft.failed:
            yield from _comment(
                f"Nothing came of {part.place} ({failure.reason}): read it yourself."
            )


def _comment(text: str) -> list[str]:
    # A line break in a passage would end the comment.
    line = " ".join(visible(storable(text)).split())
    return [
        f"# {part}"
        for part in textwrap.wrap(line, _COMMENT_WIDTH, break_long_words=False)
    ]


def toml_string(text: str) -> str:
    """Return a text as a basic string of TOML."""
    quoted = json.dumps(storable(text), ensure_ascii=False)
    return quoted.replace("\x7f", "\\u007F")
