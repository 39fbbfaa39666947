"""The engine: finds out who is asked, lets them speak, and spoils the answer where the plan says so."""

import asyncio
import hashlib
from functools import cached_property

from aidsafe_dagster.engines.rehearsal.deliberators import deliberated
from aidsafe_dagster.engines.rehearsal.faults import CallFault, Plan, RehearsalSettings, place_of
from aidsafe_dagster.engines.rehearsal.lines import Speaker, speaker
from aidsafe_dagster.engines.rehearsal.lots import pick
from aidsafe_dagster.engines.rehearsal.phrases.deliberators import REFUSALS
from aidsafe_dagster.engines.rehearsal.reading import declines, intents_of, looks_malicious
from aidsafe_dagster.engines.rehearsal.refiner import refined
from aidsafe_dagster.engines.rehearsal.seeds import decomposed, initialized
from aidsafe_dagster.engines.rehearsal.whisper import misled, whispered
from aidsafe_dagster.recipe.answers import Answer
from aidsafe_dagster.recipe.deliberated_cots import DeliberatorInputs
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.preference_pairs import EarWhispererInputs, TargetInputs
from aidsafe_dagster.recipe.records import Message, Role, Usage
from aidsafe_dagster.recipe.refined_cots import RefinerInputs
from aidsafe_dagster.recipe.seed_cots import InitializerInputs, IntentDecomposerInputs

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
        self.plan = Plan(self.settings)

    @cached_property
    def model(self) -> str:
        """Named by the settings that answers depend on; the waiting time is not one of them."""
        text = self.settings.model_dump_json(exclude={"seconds_per_call"})
        return f"rehearsal-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"

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
        inputs = request.inputs
        declining = isinstance(inputs, DeliberatorInputs) and declines(intents_of(inputs.prompt))
        place = place_of(inputs.agent, inputs.round) if isinstance(inputs, DeliberatorInputs) else request.role
        fault = self.plan.call_fault(request.prompt_id, request.role, place, request.draw, declines=declining)
        lots = (self.settings.seed, request.prompt_id, place, request.draw)
        if fault is CallFault.REFUSAL:
            return pick(REFUSALS, "refusal", *lots)
        answer = _answered(self.plan, request, place).model_dump_json()
        if fault is None:
            return answer
        spoiled = _spoiled(answer, pick(_SPOILINGS, "spoiling", *lots))
        return answer if fault is CallFault.MALFORMED_ONCE and _was_said(spoiled, request.messages) else spoiled


def _answered(plan: Plan, request: Request, place: str) -> Answer:
    match request.inputs:
        case IntentDecomposerInputs(prompt, policies) as inputs:
            malicious = looks_malicious(prompt, policies)
            return decomposed(_speaker(plan, request, inputs, place), malicious=malicious)
        case InitializerInputs() as inputs:
            return initialized(_speaker(plan, request, inputs, place), inputs.applicable)
        case DeliberatorInputs() as inputs:
            return deliberated(_speaker(plan, request, inputs, place), inputs)
        case RefinerInputs() as inputs:
            return refined(_speaker(plan, request, inputs, place), inputs)
        case EarWhispererInputs() as inputs:
            return whispered(_speaker(plan, request, inputs, place), inputs.refined)
        case TargetInputs() as inputs:
            return misled(_speaker(plan, request, inputs, place), inputs)
    raise SetupError(f"the rehearsal engine has no part for the role '{request.role}'; choose another engine for it")


Inputs = (
    IntentDecomposerInputs | InitializerInputs | DeliberatorInputs | RefinerInputs | EarWhispererInputs | TargetInputs
)


def _speaker(plan: Plan, request: Request, inputs: Inputs, place: str) -> Speaker:
    intents = inputs.intents if isinstance(inputs, InitializerInputs) else intents_of(inputs.prompt)
    return speaker(plan, inputs.prompt, inputs.policies, intents=intents, place=place, draw=request.draw)


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
