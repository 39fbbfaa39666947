"""What a server takes and refuses, found by the smallest real requests.

The trial starts from the settings in force. Whatever the server refuses is looked for, by the words
of its message or else one field after the other, and the settings are changed until it is taken.
A trial under the changed settings therefore finds nothing more to change. Bodies are built and
replies are read here, and not by the engine, so that the trial sees both as they are.
"""

from collections.abc import Mapping
from typing import Any

from aidsafe_dagster.engines.body_fields import merged
from aidsafe_dagster.engines.log_probabilities import ONE_TOKEN
from aidsafe_dagster.engines.raw_answer import RawAnswer, raw_answer
from aidsafe_dagster.engines.server_check import context_length, tokenize_dialect
from aidsafe_dagster.engines.server_client import ServerClient, ServerUnusable
from aidsafe_dagster.engines.server_dialect import omitting, trial_body
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.trial_fields import FieldTrial
from aidsafe_dagster.engines.trial_form import FormTrial
from aidsafe_dagster.engines.trial_requests import (
    LONG,
    MAX_REQUESTS,
    SHORT,
    Outcome,
    Trial,
    TrialRequests,
    is_taken,
)
from aidsafe_dagster.recipe.dialogue import Sampling
from aidsafe_dagster.recipe.errors import SetupError

_TIMEOUT_S = 120.0
_PREFIX = "Rule {0}: an answer names the rule that it follows, and says in a word why. "
_PREFIX_RULES = 70
"""About 1,300 tokens: a prefix below 1,024 is not cached everywhere."""
_NO_REASONING: tuple[Mapping[str, Any], ...] = (
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"reasoning_effort": "none"},
    {"thinking": {"type": "disabled"}},
    {"reasoning": {"enabled": False}},
)
"""What switches reasoning off: vLLM and llama.cpp, OpenAI and Ollama, Anthropic, OpenRouter."""


async def try_server(
    settings: ServerSettings, sampling: Sampling, *, guards: bool = False
) -> Trial:
    """Try a server with at most about twenty requests of a few tokens.

    Args:
        settings: of the server, with the model of the role.
        sampling: that of the role.
        guards: a guard asks this server, for log-probabilities.
    """
    trial = Trial(settings)
    try:
        timeout_s = min(settings.timeout_s, _TIMEOUT_S)
        async with ServerClient(settings, timeout_s) as client:
            # What is needed most comes first: a trial may end at any request.
            answer = await FieldTrial(client, sampling, trial).negotiate()
            if answer is None:
                return trial
            form = FormTrial(client, sampling, trial)
            await form.run()
            await _ExtrasTrial(form).run(answer, guards=guards)
    except (SetupError, ServerUnusable) as error:
        trial.note("stopped", Outcome.BROKEN, str(error))
    return trial


class _ExtrasTrial(TrialRequests):
    """Finds what not every server has, and no row needs."""

    def __init__(self, form: FormTrial) -> None:
        super().__init__(form.client, form.sampling, form.trial)
        self.form = form

    async def run(self, greeting: RawAnswer, *, guards: bool) -> None:
        if guards:
            await self._try_log_probabilities()
        await self._try_reasoning()
        self._note_usage(greeting)
        await self._try_cache()
        await self._look_around()

    async def _try_log_probabilities(self) -> None:
        settings = self.trial.settings
        fields = dict(ONE_TOKEN)
        reply = await self.ask(self.plain("Is water wet? Yes or No.", 1, **fields))
        if not is_taken(reply):
            self.trial.settings = omitting(settings, "logprobs", "top_logprobs")
            detail = f"refused: {reply}; the guard's answers count as 0 or 1"
            self.trial.note("log-probabilities", Outcome.MENDED, detail)
            return
        if "logprobs" in settings.omit:
            detail = "not asked for, as the settings say"
        elif _top_log_probabilities(reply.data):
            self.trial.note("log-probabilities", Outcome.GOOD, "of the first token")
            return
        else:
            detail = "none in the reply; the guard's answers count as 0 or 1"
        self.trial.note("log-probabilities", Outcome.ABSENT, detail)

    async def _try_reasoning(self) -> None:
        question = "What is 17 + 25? Think first, then give the number alone."
        reply = await self.ask(self.plain(question, LONG))
        answer = raw_answer(reply.data)
        place = answer.reasoning if answer else ""
        place = place or self.form.reasoning
        if not place:
            is_off = self.trial.settings.reasoning == "off"
            detail = "none seen; it is switched off" if is_off else "none seen"
            self.trial.note("reasoning", Outcome.ABSENT, detail)
            return
        if self.form.enforces_schema and not self.form.reasoning:
            place += "; none under a JSON schema"
        self.trial.note("reasoning", Outcome.GOOD, place)
        await self._try_without_reasoning(question)

    async def _try_without_reasoning(self, question: str) -> None:
        """Note what switches the reasoning off."""
        settings = self.trial.settings
        in_force = settings.reasoning_off
        for fields in [in_force, *_NO_REASONING] if in_force else _NO_REASONING:
            if self.is_spent():
                break
            switched_off = settings.model_copy(
                update={"reasoning": "off", "reasoning_off": fields}
            )
            messages = (("user", question),)
            body = trial_body(switched_off, self.sampling, messages, LONG)
            reply = await self.ask(body)
            answer = raw_answer(reply.data)
            if not is_taken(reply) or answer is None or answer.reasoning:
                continue
            shown = ", ".join(_dotted(fields))
            detail = f"switched off by {shown}"
            outcome = Outcome.GOOD
            if settings.reasoning == "off":
                outcome = Outcome.MENDED
            self.trial.note("reasoning off", outcome, detail)
            if fields != in_force:
                self.change(reasoning_off=merged(in_force, fields))
            return
        detail = "nothing that was tried switches it off"
        self.trial.note("reasoning off", Outcome.ABSENT, detail)

    def _note_usage(self, answer: RawAnswer) -> None:
        prompt = answer.usage.get("prompt_tokens")
        completion = answer.usage.get("completion_tokens")
        if not prompt:
            detail = "no tokens are counted; those of rows are estimates"
            self.trial.note("usage", Outcome.ABSENT, detail)
            return
        detail = f"{prompt} tokens in, {completion} out"
        self.trial.note("usage", Outcome.GOOD, detail)

    async def _try_cache(self) -> None:
        """Send one long prefix twice: the second time, a server with a cache has it."""
        prefix = "".join(map(_PREFIX.format, range(_PREFIX_RULES)))
        if self.client.requests + 2 > MAX_REQUESTS:
            self.trial.note("cached tokens", Outcome.ABSENT, "not tried")
            return
        messages = (("system", prefix), ("user", "Say hello."))
        body = trial_body(self.trial.settings, self.sampling, messages, SHORT)
        await self.ask(body)
        reply = await self.ask(body)
        answer = raw_answer(reply.data)
        if answer is None:
            detail = f"a long prompt is refused: {reply}"
            self.trial.note("cached tokens", Outcome.ABSENT, detail)
            return
        cached = _cached_tokens(answer.usage, reply.data)
        if cached:
            prompt = answer.usage.get("prompt_tokens", "?")
            detail = f"{cached} of {prompt} when a prompt is repeated"
            self.trial.note("cached tokens", Outcome.GOOD, detail)
        else:
            self.trial.note("cached tokens", Outcome.ABSENT, "none in the usage")

    async def _look_around(self) -> None:
        """Note what needs no model: counting, metrics, context length, rate limits."""
        dialect = await tokenize_dialect(self.client)
        if dialect:
            detail = f"counts, in {dialect}'s dialect"
            self.trial.note("/tokenize", Outcome.GOOD, detail)
        elif self.trial.settings.tokenize:
            self.trial.note("/tokenize", Outcome.MENDED, "does not count")
            self.change(tokenize=False)
        else:
            self.trial.note("/tokenize", Outcome.ABSENT, "none")
        await self._note_metrics()
        await self._note_context_length()
        limits = rate_limits(self.client.headers)
        if limits:
            self.trial.note("rate limits", Outcome.GOOD, limits)
        else:
            self.trial.note("rate limits", Outcome.ABSENT, "none in the headers")

    async def _note_metrics(self) -> None:
        reply = await self.client.peek(f"{self.client.root_url}/metrics")
        for prefix in ("vllm:", "llamacpp:"):
            if reply.status == 200 and prefix in reply.text:
                self.trial.note("metrics", Outcome.GOOD, f"{prefix}*")
                return
        self.trial.note("metrics", Outcome.ABSENT, "none of vLLM or llama.cpp")

    async def _note_context_length(self) -> None:
        length = await context_length(self.client)
        in_force = self.trial.settings.context_length
        if length is None:
            detail = f"{in_force:,} tokens, as the settings say" if in_force else ""
            detail = detail or "not stated; context_length can say it"
            self.trial.note("context length", Outcome.ABSENT, detail)
        elif in_force and in_force > length:
            detail = f"{length:,} tokens, and not {in_force:,}"
            self.trial.note("context length", Outcome.MENDED, detail)
            self.change(context_length=length)
        else:
            self.trial.note("context length", Outcome.GOOD, f"{length:,} tokens")


def rate_limits(headers: Mapping[str, str]) -> str:
    """Return what the headers of replies say about limits, for a person."""
    shown = []
    for name, value in headers.items():
        is_limit = "ratelimit" in name.replace("-", "") and "limit" in name.split("-")
        if is_limit or name == "ratelimit-policy":
            shown.append(f"{name}: {value}")
    return "; ".join(shown[:4])


def _top_log_probabilities(data: Any) -> bool:
    try:
        return bool(data["choices"][0]["logprobs"]["content"][0]["top_logprobs"])
    except (LookupError, TypeError):
        return False


def _cached_tokens(usage: Mapping[str, Any], data: Any) -> int:
    """Return the tokens from the prefix cache, under the name of any server."""
    details = usage.get("prompt_tokens_details")
    timings = data.get("timings") if isinstance(data, dict) else None
    candidates = [
        details.get("cached_tokens") if isinstance(details, dict) else None,
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cache_read_input_tokens"),
        timings.get("cache_n") if isinstance(timings, dict) else None,
    ]
    return next((number for number in candidates if isinstance(number, int)), 0)


def _dotted(fields: Mapping[str, Any], prefix: str = "") -> list[str]:
    shown = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            shown += _dotted(value, f"{prefix}{name}.")
        else:
            shown.append(f"{prefix}{name} = {str(value).lower()}")
    return shown
