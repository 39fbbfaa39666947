"""The part of a trial about the form of an answer: JSON schemas, their keywords, JSON mode."""

from collections.abc import Sequence

from aidsafe_dagster.engines.raw_answer import (
    RawAnswer,
    embedded_object,
    json_object,
    raw_answer,
)
from aidsafe_dagster.engines.server_client import Reply, ServerClient
from aidsafe_dagster.engines.server_dialect import (
    KEYWORDS,
    Body,
    limit_name,
    omitting,
    schema_format,
)
from aidsafe_dagster.engines.trial_requests import (
    LONG,
    Outcome,
    Trial,
    TrialRequests,
    is_taken,
)
from aidsafe_dagster.recipe.dialogue import Sampling

_AFTER_REASONING = 1024
"""Limit in tokens of an answer that reasoning has left no room for."""
_STRICT = "response_format.json_schema.strict"
_NOT_JSON = "Say in plain words, not as JSON, whether you keep or drop it, and why."
"""Only a server that enforces the form answers this as JSON."""


class FormTrial(TrialRequests):
    """Finds the strongest form that a server enforces."""

    def __init__(self, client: ServerClient, sampling: Sampling, trial: Trial) -> None:
        super().__init__(client, sampling, trial)
        self.reasoning = ""
        """Where reasoning was seen under a schema."""
        self.enforces_schema = False
        self._last: Body = {}

    async def run(self) -> None:
        output = self.trial.settings.output
        is_enforced = await self._schema_is_enforced()
        takes_json = await self._json_mode_is_enforced()
        if output == "schema" and not is_enforced:
            self.change(output="json" if takes_json else "text")
        elif output == "json" and takes_json is None:
            self.change(output="text")

    async def _schema_is_enforced(self) -> bool:
        """Note how a JSON schema fares; return whether the answer follows it."""
        is_used = self.trial.settings.output == "schema"
        reply = await self._ask_with_schema(self.trial.settings.schema_omit)
        if not is_taken(reply) and is_used:
            reply = await self._leave_keywords_out(reply)
        if not is_taken(reply):
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
        while not is_taken(reply) and not self.is_spent():
            named = [word for word in KEYWORDS if word in reply.words]
            new = [word for word in named if word not in left_out]
            # A message that quotes the whole schema tells nothing.
            if not new or len(named) > len(KEYWORDS) // 2:
                break
            left_out += new
            reply = await self._ask_with_schema(left_out)
        if not is_taken(reply):
            left_out = list(before)
            reply, refused = await self._keywords_one_by_one(left_out)
            left_out += refused
        if is_taken(reply):
            self.change(schema_omit=tuple(left_out))
            words = ", ".join(left_out)
            self.trial.note("schema keywords", Outcome.MENDED, f"refused: {words}")
            return reply
        return await self._try_not_strict(reply)

    async def _try_not_strict(self, refusal: Reply) -> Reply:
        """Ask once without `strict`; return the reply to it if it is taken."""
        before = self.trial.settings
        if _STRICT in before.omit or self.is_spent():
            return refusal
        self.trial.settings = omitting(before, _STRICT)
        reply = await self._ask_with_schema(before.schema_omit)
        if is_taken(reply):
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
        if not is_taken(barest):
            return barest, refused
        for keyword in KEYWORDS:
            if keyword in left_out or self.is_spent():
                continue
            others = [word for word in KEYWORDS if word != keyword]
            reply = await self._ask_with_schema(others)
            if not is_taken(reply):
                refused.append(keyword)
        return barest, refused

    async def _json_mode_is_enforced(self) -> bool | None:
        """Note how JSON mode fares: enforced, taken (False), or refused (None)."""
        body = self.plain(_NOT_JSON, LONG, response_format={"type": "json_object"})
        reply = await self.ask(body)
        if not is_taken(reply):
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

    async def _ask_with_schema(self, left_out: Sequence[str]) -> Reply:
        self._last = self.plain(
            _NOT_JSON, LONG, response_format=schema_format(left_out)
        )
        return await self.ask(self._last)

    async def _unhurried(self, reply: Reply) -> RawAnswer:
        """Return the answer in a reply; asked once more if reasoning used up its limit."""
        answer = raw_answer(reply.data) or RawAnswer("", "", was_cut=False, usage={})
        if answer.was_cut and not answer.text.startswith("{") and not self.is_spent():
            name = limit_name(self.trial.settings)
            if name in self._last:
                reply = await self.ask({**self._last, name: _AFTER_REASONING})
                answer = raw_answer(reply.data) or answer
        return answer


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
