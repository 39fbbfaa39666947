"""What a server takes and refuses, found by the smallest real requests.

The trial starts from the settings in force. Whatever the server refuses is looked for, by the words
of its message or else one field after the other, and the settings are changed until it is taken.
A trial under the changed settings therefore finds nothing more to change. Bodies are built and
replies are read here, and not by the engine, so that the trial sees both as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aidsafe_dagster.engines.log_probabilities import ONE_TOKEN
from aidsafe_dagster.engines.raw_answer import (
    RawAnswer,
    embedded_object,
    json_object,
    raw_answer,
)
from aidsafe_dagster.engines.server_check import context_length, tokenize_dialect
from aidsafe_dagster.engines.server_client import Reply, ServerClient, ServerUnusable
from aidsafe_dagster.engines.server_dialect import (
    KEYWORDS,
    LIMIT,
    MENDS,
    PRIORITY,
    SEED,
    SYSTEM,
    TEMPERATURE,
    TOP_P,
    Body,
    Mend,
    limit_name,
    merged,
    omitting,
    schema_format,
    trial_body,
)
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Sampling
from aidsafe_dagster.recipe.errors import SetupError

_MAX_REQUESTS = 20
_TIMEOUT_S = 120.0
_SHORT, _LONG, _THINKING = 32, 300, 1024
"""Limits in tokens: of a word, of a small object, of an answer after reasoning."""
_STRICT = "response_format.json_schema.strict"
_NOT_JSON = "Say in plain words, not as JSON, whether you keep or drop it, and why."
"""Only a server that enforces the form answers this as JSON."""
_GREETING = (("system", "You are brief."), ("user", "Say hello."))
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


class Outcome(StrEnum):
    GOOD = "good"
    ABSENT = "absent"
    """The server does without, and so do we."""
    MENDED = "mended"
    """Refused as the settings are; the lines mend it."""
    BROKEN = "broken"
    """Refused, and no setting helps."""


@dataclass(frozen=True)
class Observation:
    what: str
    outcome: Outcome
    detail: str


@dataclass
class Trial:
    """What was found out, and the settings with which the server takes every request."""

    settings: ServerSettings
    observations: list[Observation] = field(default_factory=list)

    def note(self, what: str, outcome: Outcome, detail: str) -> None:
        self.observations.append(Observation(what, outcome, detail))

    def has(self, outcome: Outcome) -> bool:
        return any(one.outcome is outcome for one in self.observations)


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
            await _Attempts(client, sampling, trial, guards=guards).run()
    except (SetupError, ServerUnusable) as error:
        trial.note("stopped", Outcome.BROKEN, str(error))
    return trial


class _Attempts:
    """The requests of one trial, in the order of what is needed most."""

    def __init__(
        self, client: ServerClient, sampling: Sampling, trial: Trial, *, guards: bool
    ) -> None:
        self.client = client
        self.sampling = sampling
        self.trial = trial
        self.guards = guards
        self.reasoning = ""
        """Where reasoning was seen under a schema."""
        self.enforces_schema = False
        self._last: Body = {}

    async def run(self) -> None:
        answer = await self._negotiate()
        if answer is None:
            return
        await self._try_schema()
        if self.guards:
            await self._try_log_probabilities()
        await self._try_reasoning()
        self._note_usage(answer)
        await self._try_cache()
        await self._look_around()

    # --- the fields of every request ---

    async def _negotiate(self) -> RawAnswer | None:
        """Change the settings until a request with all fields is taken; note what that took."""
        before = self.trial.settings
        reply = await self._ask(self._greeting())
        if not _is_taken(reply):
            reply = await self._follow_hints(reply)
        if not _is_taken(reply):
            reply = await self._try_field_by_field(reply)
        if not _is_taken(reply):
            self.trial.note("chat", Outcome.BROKEN, f"refused: {reply}")
            return None
        answer = raw_answer(reply.data)
        if answer is None:
            problem = f"the reply is not a chat completion: {reply.words}"
            self.trial.note("chat", Outcome.BROKEN, problem)
            return None
        self.trial.note("chat", Outcome.GOOD, f"'{self.trial.settings.model}' answers")
        for mend in MENDS:
            self._note_field(mend, before)
        return answer

    async def _follow_hints(self, reply: Reply) -> Reply:
        """Mend what the server's messages name, for as long as that helps."""
        original = self.trial.settings
        mends = list(MENDS)
        while not _is_taken(reply):
            mend = self._named_in(reply, mends)
            if mend is None or self._is_spent():
                # What was mended on the way need not have been at fault.
                self.trial.settings = original
                return reply
            mends.remove(mend)
            before = self.trial.settings
            self.trial.settings = mend.apply(before)
            words = reply.words
            reply = await self._ask(self._greeting())
            # The same complaint again: that was not what it meant.
            if not _is_taken(reply) and reply.words == words:
                self.trial.settings = before
        return reply

    def _named_in(self, reply: Reply, mends: list[Mend]) -> Mend | None:
        for mend in mends:
            applies = mend.applies(self.trial.settings, self.sampling)
            if applies and mend.hint.search(reply.words):
                return mend
        return None

    async def _try_field_by_field(self, refusal: Reply) -> Reply:
        """Start from the barest request and add one field after the other."""
        bare = await self._barest_that_is_taken()
        if bare is None:
            return refusal
        settings, sampling = self.trial.settings, self.sampling
        for mend in (SYSTEM, TEMPERATURE, TOP_P, SEED, PRIORITY):
            if not mend.applies(settings, sampling) or self._is_spent():
                continue
            reply = await self._ask(self._bare_with(mend, bare))
            if not _is_taken(reply):
                settings = mend.apply(settings)
        self.trial.settings = settings
        return await self._ask(self._greeting())

    async def _barest_that_is_taken(self) -> Body | None:
        """Return a body of model, message and limit; None if no such body is taken."""
        settings = self.trial.settings
        unlimited = omitting(settings, "max_tokens")
        for candidate in (settings, LIMIT.apply(settings), unlimited):
            body = trial_body(candidate, Sampling(), _GREETING[1:], _SHORT)
            for name in ("seed", "temperature", "top_p", "priority"):
                body.pop(name, None)
            reply = await self._ask(body)
            if _is_taken(reply):
                self.trial.settings = candidate
                return body
        return None

    def _bare_with(self, mend: Mend, bare: Body) -> Body:
        whole = self._greeting()
        body = dict(bare)
        if mend is SYSTEM:
            body["messages"] = whole["messages"]
        for name in _FIELDS_OF.get(mend.what, ()):
            if name in whole:
                body[name] = whole[name]
        return body

    def _note_field(self, mend: Mend, before: ServerSettings) -> None:
        """Note whether a field was taken as the settings were."""
        after = self.trial.settings
        was_sent = mend.applies(before, self.sampling)
        is_sent = mend.applies(after, self.sampling)
        if mend is LIMIT:
            self._note_limit(before)
        elif was_sent and is_sent:
            detail = "taken"
            if mend is TOP_P and TEMPERATURE.applies(after, self.sampling):
                detail = "taken beside temperature"
            self.trial.note(mend.what, Outcome.GOOD, detail)
        elif was_sent:
            self.trial.note(mend.what, Outcome.MENDED, _WITHOUT[mend.what])
        elif mend is not PRIORITY:
            self.trial.note(mend.what, Outcome.ABSENT, "not sent, as the settings say")

    def _note_limit(self, before: ServerSettings) -> None:
        after = self.trial.settings
        if "max_tokens" in after.omit:
            is_new = "max_tokens" not in before.omit
            outcome = Outcome.MENDED if is_new else Outcome.ABSENT
            self.trial.note(LIMIT.what, outcome, "none is taken, none is sent")
            return
        name = limit_name(after)
        if name == limit_name(before):
            self.trial.note(LIMIT.what, Outcome.GOOD, f"{name} is taken")
            return
        detail = f"{limit_name(before)} is refused, {name} is taken"
        self.trial.note(LIMIT.what, Outcome.MENDED, detail)

    # --- the form of the answer ---

    async def _try_schema(self) -> None:
        output = self.trial.settings.output
        is_enforced = await self._schema_is_enforced()
        takes_json = await self._json_mode_is_enforced()
        if output == "schema" and not is_enforced:
            self._change(output="json" if takes_json else "text")
        elif output == "json" and takes_json is None:
            self._change(output="text")

    async def _schema_is_enforced(self) -> bool:
        """Note how a JSON schema fares; return whether the answer follows it."""
        is_used = self.trial.settings.output == "schema"
        reply = await self._ask_with_schema(self.trial.settings.schema_omit)
        if not _is_taken(reply) and is_used:
            reply = await self._leave_keywords_out(reply)
        if not _is_taken(reply):
            outcome = Outcome.MENDED if is_used else Outcome.ABSENT
            self.trial.note("JSON schema", outcome, f"refused: {reply}")
            return False
        answer = await self._unhurried(reply)
        if not answer.text:
            detail = (
                "taken; the answer is empty, so nobody can tell whether it is enforced"
            )
            self.trial.note("JSON schema", Outcome.ABSENT, detail)
            return True
        problem = _misfit(answer)
        if problem:
            outcome = Outcome.MENDED if is_used else Outcome.ABSENT
            self.trial.note("JSON schema", outcome, f"taken, not enforced: {problem}")
            return False
        detail = "enforced, with its enum"
        if json_object(answer.text) is None:
            detail = "followed, with words around the JSON, which are read over"
        if _breaks_bounds(answer.text):
            detail += ", not its bounds, which are checked here"
        self.enforces_schema = True
        self.reasoning = answer.reasoning
        self.trial.note("JSON schema", Outcome.GOOD, detail)
        return True

    async def _leave_keywords_out(self, reply: Reply) -> Reply:
        """Find the keywords that are refused; return the reply to a schema without them."""
        before = self.trial.settings.schema_omit
        left_out = list(before)
        while not _is_taken(reply) and not self._is_spent():
            named = [word for word in KEYWORDS if word in reply.words]
            new = [word for word in named if word not in left_out]
            # A message that quotes the whole schema tells nothing.
            if not new or len(named) > len(KEYWORDS) // 2:
                break
            left_out += new
            reply = await self._ask_with_schema(left_out)
        if not _is_taken(reply):
            left_out = list(before)
            reply, refused = await self._keywords_one_by_one(left_out)
            left_out += refused
        if _is_taken(reply):
            self._change(schema_omit=tuple(left_out))
            words = ", ".join(left_out)
            self.trial.note("schema keywords", Outcome.MENDED, f"refused: {words}")
            return reply
        return await self._try_not_strict(reply)

    async def _try_not_strict(self, refusal: Reply) -> Reply:
        """Ask once without `strict`; return the reply to it if it is taken."""
        before = self.trial.settings
        if _STRICT in before.omit or self._is_spent():
            return refusal
        self.trial.settings = omitting(before, _STRICT)
        reply = await self._ask_with_schema(before.schema_omit)
        if _is_taken(reply):
            self.trial.note("strict schemas", Outcome.MENDED, "refused, not asked for")
            return reply
        self.trial.settings = before
        return refusal

    async def _keywords_one_by_one(
        self, left_out: list[str]
    ) -> tuple[Reply, list[str]]:
        """Return the reply to a schema without any keyword, and the keywords that are refused."""
        barest = await self._ask_with_schema(KEYWORDS)
        refused: list[str] = []
        if not _is_taken(barest):
            return barest, refused
        for keyword in KEYWORDS:
            if keyword in left_out or self._is_spent():
                continue
            others = [word for word in KEYWORDS if word != keyword]
            reply = await self._ask_with_schema(others)
            if not _is_taken(reply):
                refused.append(keyword)
        return barest, refused

    async def _json_mode_is_enforced(self) -> bool | None:
        """Note how JSON mode fares: enforced, taken (False), or refused (None)."""
        body = self._plain(_NOT_JSON, _LONG, response_format={"type": "json_object"})
        reply = await self._ask(body)
        if not _is_taken(reply):
            is_used = self.trial.settings.output == "json"
            outcome = Outcome.MENDED if is_used else Outcome.ABSENT
            self.trial.note("JSON mode", outcome, f"refused: {reply}")
            return None
        answer = raw_answer(reply.data)
        if answer and _looks_like_json(answer):
            self.trial.note("JSON mode", Outcome.GOOD, "enforced")
            return True
        self.trial.note("JSON mode", Outcome.ABSENT, "taken, not enforced")
        return False

    async def _ask_with_schema(self, left_out: tuple[str, ...] | list[str]) -> Reply:
        self._last = self._plain(
            _NOT_JSON, _LONG, response_format=schema_format(left_out)
        )
        return await self._ask(self._last)

    async def _unhurried(self, reply: Reply) -> RawAnswer:
        """Return the answer in a reply; asked once more if reasoning used up its limit."""
        answer = raw_answer(reply.data) or RawAnswer("", "", was_cut=False, usage={})
        if answer.was_cut and not answer.text.startswith("{") and not self._is_spent():
            name = limit_name(self.trial.settings)
            if name in self._last:
                reply = await self._ask({**self._last, name: _THINKING})
                answer = raw_answer(reply.data) or answer
        return answer

    # --- what not every server has ---

    async def _try_log_probabilities(self) -> None:
        settings = self.trial.settings
        fields = dict(ONE_TOKEN)
        reply = await self._ask(self._plain("Is water wet? Yes or No.", 1, **fields))
        if not _is_taken(reply):
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
        reply = await self._ask(self._plain(question, _LONG))
        answer = raw_answer(reply.data)
        place = answer.reasoning if answer else ""
        place = place or self.reasoning
        if not place:
            is_off = self.trial.settings.reasoning == "off"
            detail = "none seen; it is switched off" if is_off else "none seen"
            self.trial.note("reasoning", Outcome.ABSENT, detail)
            return
        if self.enforces_schema and not self.reasoning:
            place += "; none under a JSON schema"
        self.trial.note("reasoning", Outcome.GOOD, place)
        await self._try_without_reasoning(question)

    async def _try_without_reasoning(self, question: str) -> None:
        """Note what switches the reasoning off."""
        settings = self.trial.settings
        in_force = settings.reasoning_off
        for fields in [in_force, *_NO_REASONING] if in_force else _NO_REASONING:
            if self._is_spent():
                break
            switched_off = settings.model_copy(
                update={"reasoning": "off", "reasoning_off": fields}
            )
            messages = (("user", question),)
            body = trial_body(switched_off, self.sampling, messages, _LONG)
            reply = await self._ask(body)
            answer = raw_answer(reply.data)
            if not _is_taken(reply) or answer is None or answer.reasoning:
                continue
            shown = ", ".join(_dotted(fields))
            detail = f"switched off by {shown}"
            outcome = Outcome.GOOD
            if settings.reasoning == "off":
                outcome = Outcome.MENDED
            self.trial.note("reasoning off", outcome, detail)
            if fields != in_force:
                self._change(reasoning_off=merged(in_force, fields))
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
        if self.client.requests + 2 > _MAX_REQUESTS:
            self.trial.note("cached tokens", Outcome.ABSENT, "not tried")
            return
        messages = (("system", prefix), ("user", "Say hello."))
        body = trial_body(self.trial.settings, self.sampling, messages, _SHORT)
        await self._ask(body)
        reply = await self._ask(body)
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
            self._change(tokenize=False)
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
            self._change(context_length=length)
        else:
            self.trial.note("context length", Outcome.GOOD, f"{length:,} tokens")

    # --- sending ---

    async def _ask(self, body: Body) -> Reply:
        reply = await self.client.chat(body)
        # A template that refuses a system message is a 500 too, but then it is one every time.
        if reply.status >= 500 and not self._is_spent():
            reply = await self.client.chat(body)
        return reply

    def _is_spent(self) -> bool:
        return self.client.requests >= _MAX_REQUESTS

    def _greeting(self) -> Body:
        return trial_body(self.trial.settings, self.sampling, _GREETING, _SHORT)

    def _plain(self, question: str, limit: int, **fields: Any) -> Body:
        messages = (("user", question),)
        return trial_body(self.trial.settings, self.sampling, messages, limit, **fields)

    def _change(self, **changes: Any) -> None:
        self.trial.settings = self.trial.settings.model_copy(update=changes)


_FIELDS_OF: Mapping[str, tuple[str, ...]] = {
    TEMPERATURE.what: ("temperature",),
    TOP_P.what: ("temperature", "top_p"),
    SEED.what: ("seed",),
    PRIORITY.what: ("priority",),
}
_WITHOUT: Mapping[str, str] = {
    SYSTEM.what: "refused; its text goes to the head of the user's message",
    TEMPERATURE.what: "refused, and not sent",
    TOP_P.what: "refused beside temperature, and not sent",
    SEED.what: "refused, and not sent",
    PRIORITY.what: "refused, and not sent",
}


def rate_limits(headers: Mapping[str, str]) -> str:
    """Return what the headers of replies say about limits, for a person."""
    shown = []
    for name, value in headers.items():
        is_limit = "ratelimit" in name.replace("-", "") and "limit" in name.split("-")
        if is_limit or name == "ratelimit-policy":
            shown.append(f"{name}: {value}")
    return "; ".join(shown[:4])


def _is_taken(reply: Reply) -> bool:
    """Return whether a request was taken, even if its answer did not fit the limit."""
    # OpenAI says so under HTTP 400 when reasoning used the whole of a small limit.
    return reply.status == 200 or "could not finish" in reply.text.lower()


def _misfit(answer: RawAnswer) -> str:
    """Say in what an answer breaks the trial's schema, bounds apart; empty if in nothing."""
    # A grammar admits white space without end, which a small model fills.
    if answer.was_cut and answer.text.startswith("{"):
        return ""
    data = embedded_object(answer.text)
    if data is None:
        return "the answer is not JSON"
    if set(data) != {"verdict", "score", "comment", "rules"}:
        return "other keys"
    if data["verdict"] not in ("keep", "drop"):
        return "a value beside the enum"
    return ""


def _breaks_bounds(text: str) -> bool:
    data = json_object(text) or {}
    score, comment, rules = data.get("score"), data.get("comment"), data.get("rules")
    is_out = isinstance(score, int) and not 1 <= score <= 5
    is_long = isinstance(comment, str) and len(comment) > 40
    are_many = isinstance(rules, list) and len(rules) > 2
    return is_out or is_long or are_many


def _looks_like_json(answer: RawAnswer) -> bool:
    is_cut = answer.was_cut and answer.text.startswith("{")
    return is_cut or json_object(answer.text) is not None


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
