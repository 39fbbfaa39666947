"""What the parts of a server's trial share: its record, and the requests that it sends."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aidsafe_dagster.engines.server_client import Reply, ServerClient
from aidsafe_dagster.engines.server_dialect import Body, trial_body
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.dialogue import Sampling

MAX_REQUESTS = 20
SHORT, LONG = 32, 300
"""Limits in tokens: of a word, of a small object."""
GREETING = (("system", "You are brief."), ("user", "Say hello."))


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


@dataclass
class TrialRequests:
    """Sends requests under the settings that the trial has come to so far."""

    client: ServerClient
    sampling: Sampling
    trial: Trial

    async def ask(self, body: Body) -> Reply:
        reply = await self.client.chat(body)
        # A template that refuses a system message is a 500 too, but then it is one every time.
        if reply.status >= 500 and not self.is_spent():
            reply = await self.client.chat(body)
        return reply

    def is_spent(self) -> bool:
        return self.client.requests >= MAX_REQUESTS

    def greeting(self) -> Body:
        return trial_body(self.trial.settings, self.sampling, GREETING, SHORT)

    def plain(self, question: str, limit: int, **fields: Any) -> Body:
        messages = (("user", question),)
        return trial_body(self.trial.settings, self.sampling, messages, limit, **fields)

    def change(self, **changes: Any) -> None:
        self.trial.settings = self.trial.settings.model_copy(update=changes)


def is_taken(reply: Reply) -> bool:
    """Return whether a request was taken, even if its answer did not fit the limit."""
    # OpenAI says so under HTTP 400 when reasoning used the whole of a small limit.
    return reply.status == 200 or "could not finish" in reply.text.lower()
