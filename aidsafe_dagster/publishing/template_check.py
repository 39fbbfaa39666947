"""What a chat template makes of the rows: whether the reasoning and the response arrive, once, in either form.

Some templates drop what is between <think> and </think>, some drop it from all turns but the last, some add tags of
their own, and many know no reasoning field. A model trained through such a template never sees the chain of thought,
and no trainer says so.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

from aidsafe_dagster.publishing.chat_template import ChatTemplate, Rendered, TemplateFailed
from aidsafe_dagster.recipe.formats import CLOSE, FORMATS, OPEN, Reasoning, split_thinking
from aidsafe_dagster.recipe.records import FineTuneRow, Message

FORMS: tuple[Reasoning, ...] = get_args(Reasoning)


class Turn(NamedTuple):
    """What a trainer renders of a row: the turns before, and the assistant's."""

    side: str
    """sft, chosen or rejected."""
    before: list[dict[str, Any]]
    answer: dict[str, Any]
    cot: str
    response: str


@dataclass
class Outcome:
    """One side of the rows in one form."""

    side: str
    form: Reasoning
    rows: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Rows, by what is wrong: 'CoT lost', 'response doubled' …"""
    first_error: str = ""
    moved: int = 0
    """Rows whose prompt, with the assistant's turn opened, is not what the whole conversation begins with."""
    trained: int = 0
    """Rows whose CoT and response are within generation markers."""

    @property
    def survives(self) -> bool:
        return not self.faults.total()


@dataclass(frozen=True)
class TemplateReport:
    outcomes: tuple[Outcome, ...]
    generation_markers: bool
    keeps_history: bool | None
    """Reasoning of earlier turns stays; None if the template takes no such conversation. These rows have one turn."""

    def survives(self, form: Reasoning) -> bool:
        """True when every row arrives whole in this form."""
        return all(outcome.survives for outcome in self.outcomes if outcome.form == form)


def check_template(template: ChatTemplate, rows: Iterable[FineTuneRow]) -> TemplateReport:
    """Renders every row in both forms, as SFT and DPO trainers do.

    Raises:
        SetupError: it is no valid template.
    """
    outcomes: dict[tuple[str, Reasoning], Outcome] = {}
    for row in rows:
        for form in FORMS:
            for turn in _turns(row, form):
                _judge(
                    template, turn, outcomes.setdefault((turn.side, form), Outcome(turn.side, form))
                )
    return TemplateReport(
        tuple(outcomes.values()), template.has_generation_markers, _keeps_history(template)
    )


def probes() -> list[FineTuneRow]:
    """Rows to check with where there are no others."""
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
    told = {
        "role": "assistant",
        "content": f"{OPEN}\n{shared['thinking']}\n{CLOSE}\n\n{shared['response']}",
    }
    worse = {
        "role": "assistant",
        "content": f"{OPEN}\nRules are for others.\n{CLOSE}\n\nAn answer to avoid.",
    }
    sft = shared | {
        "kind": "sft",
        "messages": (user, told),
        "prompt": None,
        "chosen": None,
        "rejected": None,
    }
    dpo = shared | {
        "kind": "dpo",
        "messages": None,
        "prompt": (user,),
        "chosen": (told,),
        "rejected": (worse,),
    }
    return [FineTuneRow.model_validate(sft), FineTuneRow.model_validate(dpo)]


def _turns(row: FineTuneRow, form: Reasoning) -> Iterator[Turn]:
    if row.kind == "sft":
        *before, answer = FORMATS["trl-sft"].convert(row, form)["messages"]
        yield Turn("sft", before, answer, *split_thinking(_last(row.messages)))
        return
    made = FORMATS["trl-dpo"].convert(row, form)
    for side in ("chosen", "rejected"):
        yield Turn(side, made["prompt"], made[side][-1], *split_thinking(_last(getattr(row, side))))


def _last(messages: Sequence[Message] | None) -> str:
    assert messages
    return messages[-1].content


def _judge(template: ChatTemplate, turn: Turn, outcome: Outcome) -> None:
    outcome.rows += 1
    try:
        whole = template.render([*turn.before, turn.answer])
        opened = template.render(turn.before, opens_turn=True)
    except TemplateFailed as failed:
        outcome.faults["refused by the template"] += 1
        outcome.first_error = outcome.first_error or str(failed)
        return
    outcome.faults.update(_faults(turn, whole))
    outcome.moved += not whole.text.startswith(opened.text)
    outcome.trained += all(
        _plain(part) in _plain(whole.trained) for part in (turn.cot, turn.response)
    )


def _faults(turn: Turn, whole: Rendered) -> Iterator[str]:
    """What is wrong, compared with the row's own text, in which a CoT may well quote the prompt or the response."""
    said = _plain(
        "\n".join((*(message["content"] for message in turn.before), turn.cot, turn.response))
    )
    seen = _plain(whole.text)
    for name, part in (("CoT", _plain(turn.cot)), ("response", _plain(turn.response))):
        if part and seen.count(part) < said.count(part):
            yield f"{name} lost"
        elif part and seen.count(part) > said.count(part):
            yield f"{name} doubled"
    if seen.count(CLOSE) > 1 or seen.count(OPEN) > 1:
        yield "think tags doubled"


def _keeps_history(template: ChatTemplate) -> bool | None:
    earlier = {
        "role": "assistant",
        "content": f"{OPEN}\nAn earlier thought.\n{CLOSE}\n\nAn earlier answer.",
    }
    question = {"role": "user", "content": "A question?"}
    try:
        seen = template.render(
            [question, earlier, question, {"role": "assistant", "content": "A later answer."}]
        )
    except TemplateFailed:
        return None
    return "An earlier thought." in seen.text


def _plain(text: str) -> str:
    """The text without differences of white space, which templates trim."""
    return " ".join(text.split())
