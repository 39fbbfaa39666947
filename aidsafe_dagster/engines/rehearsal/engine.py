"""The engine: lets a role answer, and spoils the answer where a fault of the call strikes."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aidsafe_dagster.engines.protocol import Route
from aidsafe_dagster.engines.rehearsal.beliefs import (
    SpokenAnswer,
    answer_under_belief,
    spoken_text,
    unfinished_text,
    whisper_belief,
)
from aidsafe_dagster.engines.rehearsal.deliberators import merge_opinions, take_turn
from aidsafe_dagster.engines.rehearsal.faults import Fault, RehearsalSettings
from aidsafe_dagster.engines.rehearsal.fitting import fit
from aidsafe_dagster.engines.rehearsal.judges import guard_subject, judge_subjects
from aidsafe_dagster.engines.rehearsal.phrasebook import phrases
from aidsafe_dagster.engines.rehearsal.planted import (
    PlantedAnswer,
    Reply,
    append_planted,
)
from aidsafe_dagster.engines.rehearsal.policy_editor import edit_policy
from aidsafe_dagster.engines.rehearsal.prompt_writer import write_prompts
from aidsafe_dagster.engines.rehearsal.refiner import refine_thoughts
from aidsafe_dagster.engines.rehearsal.seeds import (
    decompose_intents,
    think_alone,
    write_seed,
)
from aidsafe_dagster.engines.rehearsal.speaker import Speaker, make_speaker
from aidsafe_dagster.engines.rehearsal.translator import mark_language
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Role, Usage

_ROLES: Mapping[Role, Callable[[Speaker, Any], Reply]] = {
    Role.SINGLE_LLM: think_alone,
    Role.INTENT_DECOMPOSER: decompose_intents,
    Role.INITIALIZER: write_seed,
    Role.DELIBERATOR: take_turn,
    Role.MODERATOR: merge_opinions,
    Role.REFINER: refine_thoughts,
    Role.JUDGE: judge_subjects,
    Role.SECOND_JUDGE: judge_subjects,
    Role.GUARD: guard_subject,
    Role.EAR_WHISPERER: whisper_belief,
    Role.TARGET: answer_under_belief,
    Role.POLICY_EDITOR: edit_policy,
    Role.TRANSLATOR: mark_language,
    Role.PROMPT_WRITER: write_prompts,
}
_BYTES_PER_TOKEN = 4


class RehearsalEngine:
    """Answers by rule from a request's typed inputs.

    It keeps nothing between calls, so calls may overlap, repeat and come in any order.
    """

    name = "rehearsal"
    simulated = True
    slots = 64
    gpus = 0

    def __init__(
        self,
        settings: RehearsalSettings | None = None,
        planted_file: Path | None = None,
    ) -> None:
        """`planted_file` keeps what is planted in each answer; None keeps nothing."""
        self.settings = settings or RehearsalSettings()
        self.model = self.settings.model
        self._planted_file = planted_file

    def route(self, speaker: str) -> Route:  # noqa: ARG002
        """Return the one route, which is the same for every role."""
        return Route(server=self.name, model=self.model, slots=self.slots)

    async def complete(self, request: Request, attempt: int) -> Completion:  # noqa: ARG002
        """Answer a request, after what is planted in the answer is written down.

        Raises:
            SetupError: the request is for a role that this engine does not play, or the file of
                planted faults cannot be written.
        """
        if self.settings.seconds_per_call:
            await asyncio.sleep(self.settings.seconds_per_call)
        text, planted = self.answer(request)
        if self._planted_file is not None:
            append_planted(self._planted_file, planted)
        prompt_tokens = 0
        for message in request.messages:
            prompt_tokens += _estimate_tokens(message.content)
        usage = Usage(
            calls=1,
            prompt_tokens=prompt_tokens,
            completion_tokens=_estimate_tokens(text),
        )
        return Completion(text=text, model=self.model, usage=usage)

    def metrics_url(self) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing to release."""

    def answer(self, request: Request) -> tuple[str, PlantedAnswer]:
        """Return an answer's text and what is planted in it, as functions of the request alone.

        The text is valid JSON of the request's schema unless a fault of the call strikes. That of
        the target, who gets no schema, is in its own form.
        """
        reply_as_role = _ROLES.get(request.role)
        if reply_as_role is None:
            raise SetupError(
                f"the rehearsal engine has no part for the role '{request.role}'; "
                "choose another engine for it"
            )
        speaker = make_speaker(request, self.settings)
        reply = reply_as_role(speaker, request.inputs)
        data = reply.answer.model_dump(mode="json", by_alias=True)
        # A real server's guided decoder keeps to the schema's bounds in the same way.
        data = fit(data, request.schema, request.schema.get("$defs", {}))
        text = json.dumps(data, ensure_ascii=False)
        if isinstance(reply.answer, SpokenAnswer):
            text = spoken_text(speaker, reply.answer)
        fault = _call_fault(speaker, request)
        if fault is not None:
            if isinstance(reply.answer, SpokenAnswer):
                spoiled = unfinished_text(reply.answer)
            else:
                spoiled = _spoil(speaker, request, text, fault)
            # A re-ask has the dice of the call that it repeats, so it would be spoiled likewise.
            if fault is not Fault.MALFORMED_ONCE or not _repeats(request, spoiled):
                # Nobody gets to see what is planted in an answer that does not parse.
                text, reply = spoiled, Reply(reply.answer, (fault,))
        return text, PlantedAnswer(
            model=self.model,
            prompt_id=request.prompt_id,
            stage=request.stage,
            role=request.role,
            turn=request.turn,
            draw=request.draw,
            faults=reply.faults,
            thoughts=_planted_thoughts(reply, data),
            subject=reply.subject,
            deserved=reply.deserved,
        )


def _call_fault(speaker: Speaker, request: Request) -> Fault | None:
    rates = {Fault.UNPARSABLE: speaker.rate(Fault.UNPARSABLE)}
    # A classifier is never asked again.
    if not request.labels:
        rates[Fault.MALFORMED_ONCE] = speaker.rate(Fault.MALFORMED_ONCE)
    # Only who works on a prompt may refuse the work.
    works_on_prompt = request.role in (Role.SINGLE_LLM, Role.DELIBERATOR)
    if works_on_prompt and speaker.reading.declines:
        rates[Fault.REFUSAL] = speaker.rate(Fault.REFUSAL)
    return speaker.call_dice.choose(rates, "call")


def _spoil(speaker: Speaker, request: Request, text: str, fault: Fault) -> str:
    """Return a text that does not parse, in place of an answer in JSON."""
    if request.labels:
        return "That depends."
    if fault is Fault.REFUSAL:
        return speaker.call_dice.pick(phrases("refusals"), "spoil")
    cut_short = text[: len(text) * 3 // 5]
    talkative = f"{cut_short}\n\nTell me if it should be longer."
    # The first field under another name: it is missing.
    unknown_key = '{"remarks"' + text[text.index(":") :]
    return speaker.call_dice.pick((cut_short, talkative, unknown_key), "spoil")


def _repeats(request: Request, text: str) -> bool:
    """Return True when the request is a re-ask after that very text, among other texts maybe.

    A target is asked the same again.
    """
    if request.role is Role.TARGET:
        return bool(request.inputs.attempt)
    return any(message.content == text for message in request.messages)


def _planted_thoughts(reply: Reply, data: Mapping[str, Any]) -> dict[str, Fault]:
    """Return the planted thoughts in the words of the answer; some may have been cut off."""
    planted = {}
    for index, fault in reply.thought_faults.items():
        if index < len(data["thoughts"]):
            # Stripped, as in the record that the recipe makes of the answer.
            thought = data["thoughts"][index]["thought"].strip()
            planted[thought] = fault
    return planted


def _estimate_tokens(text: str) -> int:
    """Return about as many tokens as a tokenizer would count."""
    # Prompts are long, and encoding ASCII would only tell its length again.
    size = len(text) if text.isascii() else len(text.encode())
    return size // _BYTES_PER_TOKEN
