"""Check whether reasoning and response survive a chat template exactly once, in either form.

Some templates drop what is between <think> and </think>, some drop it from all turns but the last,
some add tags of their own, and many know no reasoning field. A model trained through such a
template never sees the chain of thought, and no trainer warns about it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

from aidsafe_dagster.publishing.chat_template import (
    ChatTemplate,
    Rendered,
    TemplateFailed,
)
from aidsafe_dagster.recipe.format_types import CLOSE, OPEN, Reasoning, split_thinking
from aidsafe_dagster.recipe.formats import FORMATS
from aidsafe_dagster.recipe.records import FineTuneRow, Message

FORMS: tuple[Reasoning, ...] = get_args(Reasoning)


class CheckedTurn(NamedTuple):
    """The part of a row that a trainer renders: the earlier turns and the assistant's."""

    side: str
    """sft, chosen or rejected."""
    prompt: list[dict[str, Any]]
    answer: dict[str, Any]
    cot: str
    response: str


@dataclass
class Outcome:
    """The result for one side of the rows in one form."""

    side: str
    form: Reasoning
    rows: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Rows by fault: 'CoT lost', 'response doubled' …"""
    first_error: str = ""
    prompt_mismatches: int = 0
    """Rows whose prompt, with the assistant's turn opened, does not start the conversation."""
    rows_in_markers: int = 0
    """Rows whose CoT and response are within generation markers."""

    @property
    def survives(self) -> bool:
        return not self.faults.total()


@dataclass(frozen=True)
class TemplateReport:
    outcomes: tuple[Outcome, ...]
    generation_markers: bool
    keeps_history: bool | None
    """Whether reasoning of earlier turns stays; None if the template refuses such conversations.

    Our rows have one turn each."""

    def survives(self, form: Reasoning) -> bool:
        """Tell whether every row survives whole in this form."""
        return all(
            outcome.survives for outcome in self.outcomes if outcome.form == form
        )


def check_template(
    template: ChatTemplate, rows: Iterable[FineTuneRow]
) -> TemplateReport:
    """Render every row in both forms, as SFT and DPO trainers do.

    Raises:
        SetupError: the template is invalid.
    """
    outcomes: dict[tuple[str, Reasoning], Outcome] = {}
    for row in rows:
        for form in FORMS:
            for turn in _turns(row, form):
                outcome = outcomes.setdefault(
                    (turn.side, form), Outcome(turn.side, form)
                )
                _check_turn(template, turn, outcome)
    return TemplateReport(
        outcomes=tuple(outcomes.values()),
        generation_markers=template.has_generation_markers,
        keeps_history=_keeps_history(template),
    )


def probe_rows() -> list[FineTuneRow]:
    """Return made-up rows for a check without a dataset."""
    shared = {
        "prompt_id": "probe",
        "batch": "",
        "source": "",
        "source_row": "",
        "category": "",
        "licence": "",
        "prompt_kind": "benign",
        "engine": "",
        "model": "",
        "simulated": False,
        "policies_version": "",
        "templates_version": "",
        "usage": {},
        "split": "train",
        "thinking": "First consider the question.\n\nThen consider the rules.",
        "response": "Here is a useful answer.\n\n- It has a list.",
    }
    user = {"role": "user", "content": "A question?"}
    chosen = _assistant(shared["thinking"], shared["response"])
    rejected = _assistant("Rules are for others.", "An answer to avoid.")
    sft = shared | {
        "kind": "sft",
        "messages": (user, chosen),
        "prompt": None,
        "chosen": None,
        "rejected": None,
    }
    dpo = shared | {
        "kind": "dpo",
        "messages": None,
        "prompt": (user,),
        "chosen": (chosen,),
        "rejected": (rejected,),
    }
    return [FineTuneRow.model_validate(sft), FineTuneRow.model_validate(dpo)]


def _assistant(thinking: object, response: object) -> dict[str, str]:
    return {
        "role": "assistant",
        "content": f"{OPEN}\n{thinking}\n{CLOSE}\n\n{response}",
    }


def _turns(row: FineTuneRow, form: Reasoning) -> Iterator[CheckedTurn]:
    if row.kind == "sft":
        columns = FORMATS["trl-sft"].convert(row, form)
        *prompt, answer = columns["messages"]
        cot, response = split_thinking(_last_content(row.messages))
        yield CheckedTurn("sft", prompt, answer, cot, response)
        return
    values = FORMATS["trl-dpo"].convert(row, form)
    for side, messages in (("chosen", row.chosen), ("rejected", row.rejected)):
        # The texts come from the row itself, whatever the form makes of them.
        cot, response = split_thinking(_last_content(messages))
        answer = values[side][-1]
        yield CheckedTurn(side, values["prompt"], answer, cot, response)


def _last_content(messages: Sequence[Message] | None) -> str:
    assert messages
    return messages[-1].content


def _check_turn(template: ChatTemplate, turn: CheckedTurn, outcome: Outcome) -> None:
    outcome.rows += 1
    try:
        conversation = template.render([*turn.prompt, turn.answer])
        prompt = template.render(turn.prompt, opens_turn=True)
    except TemplateFailed as error:
        outcome.faults["refused by the template"] += 1
        # One message is enough: a template usually refuses all rows for the same reason.
        outcome.first_error = outcome.first_error or str(error)
        return
    outcome.faults.update(_find_faults(turn, conversation))
    # DPO trainers tokenize the prompt by itself and cut its length off the conversation.
    if not conversation.text.startswith(prompt.text):
        outcome.prompt_mismatches += 1
    marked = _normalise(conversation.marked)
    if _normalise(turn.cot) in marked and _normalise(turn.response) in marked:
        outcome.rows_in_markers += 1


def _find_faults(turn: CheckedTurn, conversation: Rendered) -> Iterator[str]:
    """Compare how often each part occurs in the rendered text and in the row itself.

    A CoT may quote the prompt or the response, so one occurrence is not always the right number.
    """
    texts = [message["content"] for message in turn.prompt]
    texts += [turn.cot, turn.response]
    original = _normalise("\n".join(texts))
    rendered = _normalise(conversation.text)
    parts = {"CoT": _normalise(turn.cot), "response": _normalise(turn.response)}
    for name, part in parts.items():
        # An empty text occurs everywhere.
        if not part:
            continue
        expected = original.count(part)
        actual = rendered.count(part)
        if actual < expected:
            yield f"{name} lost"
        elif actual > expected:
            yield f"{name} doubled"
    # Rows whose own text contains a tag are not published, so one pair is right.
    if rendered.count(CLOSE) > 1 or rendered.count(OPEN) > 1:
        yield "think tags doubled"


def _keeps_history(template: ChatTemplate) -> bool | None:
    # Two turns, because most templates that drop reasoning keep it in the last one.
    question = {"role": "user", "content": "A question?"}
    earlier = _assistant("An earlier thought.", "An earlier answer.")
    later = {"role": "assistant", "content": "A later answer."}
    try:
        conversation = template.render([question, earlier, question, later])
    except TemplateFailed:
        return None
    return "An earlier thought." in conversation.text


def _normalise(text: str) -> str:
    """Collapse white space, which templates trim."""
    return " ".join(text.split())
