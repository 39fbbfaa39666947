"""The engine: finds out who is asked, lets them speak, and spoils the answer where the plan says so."""

import asyncio
import json

from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.faults import CallFault, RehearsalSettings
from aidsafe_dagster.engines.rehearsal.fitting import fitted
from aidsafe_dagster.engines.rehearsal.guard import UNSURE, weighed
from aidsafe_dagster.engines.rehearsal.lots import pick
from aidsafe_dagster.engines.rehearsal.parts import answered, has_to_decline, place_of_call
from aidsafe_dagster.engines.rehearsal.phrases.deliberators import REFUSALS
from aidsafe_dagster.recipe.beliefs import GuardInputs
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import Message, Role, Usage

_BYTES_PER_TOKEN = 4
_SPOILINGS = ("cut short", "chatty at the end", "with a stray key")


class RehearsalEngine:
    """Answers by rule from a request's typed inputs. Keeps nothing between calls, so calls may overlap at will."""

    name = "rehearsal"
    simulated = True
    slots = 64
    gpus = 0

    def __init__(self, settings: RehearsalSettings | None = None) -> None:
        self.settings = settings or RehearsalSettings()
        self.plan = FaultPlan(self.settings)
        self.model = self.settings.model

    def model_for(self, role: Role) -> str:  # noqa: ARG002
        """The same for every role."""
        return self.model

    async def complete(self, request: Request, attempt: int) -> Completion:  # noqa: ARG002
        """Succeeds on the first attempt, or never.

        Raises:
            SetupError: the request is for a role that this engine does not play.
        """
        if self.settings.seconds_per_call:
            await asyncio.sleep(self.settings.seconds_per_call)
        text = self.says(request)
        usage = Usage(
            calls=1,
            prompt_tokens=sum(_tokens(message.content) for message in request.messages),
            completion_tokens=_tokens(text),
        )
        return Completion(text=text, model=self.model, usage=usage)

    def metrics_url(self) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing to give back."""

    def says(self, request: Request) -> str:
        """The answer's text: valid JSON of the request's schema unless a fault of the call is planted."""
        place = place_of_call(request)
        declining = has_to_decline(request.inputs)
        fault = self.plan.call_fault(
            request.prompt_id, request.role, place, request.draw, declines=declining
        )
        lots = (self.settings.seed, request.prompt_id, place, request.draw)
        if fault is CallFault.REFUSAL:
            return pick(REFUSALS, "refusal", *lots)
        if isinstance(request.inputs, GuardInputs):
            return UNSURE if fault is CallFault.UNPARSABLE else weighed(self.plan, request.inputs)
        said = answered(self.plan, request, place).model_dump(mode="json")
        answer = json.dumps(
            fitted(said, request.schema, request.schema.get("$defs", {})), ensure_ascii=False
        )
        if fault is None:
            return answer
        spoiled = _spoiled(answer, pick(_SPOILINGS, "spoiling", *lots))
        return (
            answer
            if fault is CallFault.MALFORMED_ONCE and _was_said(spoiled, request.messages)
            else spoiled
        )


def _spoiled(answer: str, how: str) -> str:
    """An answer that parses as none."""
    if how == "cut short":
        return answer[: len(answer) * 3 // 5]
    if how == "chatty at the end":
        return f"{answer}\n\nTell me if it should be shorter."
    return answer[:-1] + ',"remarks":"none"}'


def _was_said(text: str, messages: tuple[Message, ...]) -> bool:
    """True when this is a re-ask after that very text: only then do the messages end with it and one more."""
    return len(messages) > 1 and messages[-2].content == text


def _tokens(text: str) -> int:
    """About as many as a tokenizer would count."""
    size = len(text) if text.isascii() else len(text.encode())
    return size // _BYTES_PER_TOKEN
