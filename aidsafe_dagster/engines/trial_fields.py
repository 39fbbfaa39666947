"""The part of a trial about the fields of every request: what is refused, and what mends that."""

from collections.abc import Mapping

from aidsafe_dagster.engines.loop_ending import REPETITION
from aidsafe_dagster.engines.raw_answer import RawAnswer, raw_answer
from aidsafe_dagster.engines.server_client import Reply
from aidsafe_dagster.engines.server_dialect import (
    LIMIT,
    MENDS,
    PRIORITY,
    REPETITION_DETECTION,
    SEED,
    SYSTEM,
    TEMPERATURE,
    TOP_P,
    Body,
    Mend,
    limit_name,
    omitting,
    trial_body,
)
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.trial_requests import (
    GREETING,
    SHORT,
    Outcome,
    TrialRequests,
    is_taken,
)
from aidsafe_dagster.recipe.dialogue import Sampling

_FIELDS_OF: Mapping[str, tuple[str, ...]] = {
    TEMPERATURE.what: ("temperature",),
    TOP_P.what: ("temperature", "top_p"),
    SEED.what: ("seed",),
    PRIORITY.what: ("priority",),
    REPETITION_DETECTION.what: (REPETITION,),
}
_WITHOUT: Mapping[str, str] = {
    SYSTEM.what: "refused; its text goes to the head of the user's message",
    TEMPERATURE.what: "refused, and not sent",
    TOP_P.what: "refused beside temperature, and not sent",
    SEED.what: "refused, and not sent",
    PRIORITY.what: "refused, and not sent",
    REPETITION_DETECTION.what: "repetition_detection is refused; answers are streamed instead",
}


class FieldTrial(TrialRequests):
    """Finds the fields that a server takes, by its messages or one field after the other."""

    async def negotiate(self) -> RawAnswer | None:
        """Change the settings until a request with all fields is taken; note what that took."""
        before = self.trial.settings
        reply = await self.ask(self.greeting())
        if not is_taken(reply):
            reply = await self._follow_hints(reply)
        if not is_taken(reply):
            reply = await self._try_field_by_field(reply)
        if not is_taken(reply):
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
        while not is_taken(reply):
            mend = self._named_in(reply, mends)
            if mend is None or self.is_spent():
                # What was mended on the way need not have been at fault.
                self.trial.settings = original
                return reply
            mends.remove(mend)
            before = self.trial.settings
            self.trial.settings = mend.apply(before)
            words = reply.words
            reply = await self.ask(self.greeting())
            # The same complaint again: that was not what it meant.
            if not is_taken(reply) and reply.words == words:
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
        for mend in (
            SYSTEM,
            TEMPERATURE,
            TOP_P,
            SEED,
            PRIORITY,
            REPETITION_DETECTION,
        ):
            if not mend.applies(settings, sampling) or self.is_spent():
                continue
            reply = await self.ask(self._bare_with(mend, bare))
            if not is_taken(reply):
                settings = mend.apply(settings)
        self.trial.settings = settings
        return await self.ask(self.greeting())

    async def _barest_that_is_taken(self) -> Body | None:
        """Return a body of model, message and limit; None if no such body is taken."""
        settings = self.trial.settings
        unlimited = omitting(settings, "max_tokens")
        for candidate in (settings, LIMIT.apply(settings), unlimited):
            body = trial_body(candidate, Sampling(), GREETING[1:], SHORT)
            for name in ("seed", "temperature", "top_p", "priority", REPETITION):
                body.pop(name, None)
            reply = await self.ask(body)
            if is_taken(reply):
                self.trial.settings = candidate
                return body
        return None

    def _bare_with(self, mend: Mend, bare: Body) -> Body:
        whole = self.greeting()
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
        elif mend not in (PRIORITY, REPETITION_DETECTION):
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
