"""Refusals: tells requests that a server refuses from a server that refuses them all.

A model that has answered nobody yet and refuses the first five calls will refuse the others as
well: the run stops. One that has answered before may have met five prompts that it does not take,
such as the last rows of a batch or those that a second run tries again. A small request of the same
form decides: if that is refused too, the form is at fault, and the run stops.
"""

from dataclasses import replace

from aidsafe_dagster.engines.protocol import RequestRejected
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.records import FailureReason, Message

IN_A_ROW = 5
_REASONS = {FailureReason.REJECTED_BY_ENGINE, FailureReason.CUT_IN_REASONING}
"""Moderation, a full context and the like are the row's own fault."""


class Refusals:
    """The latest refusals of one model, with no answer between them.

    Args:
        was_answered_before: whether the model has ever answered this form of request on this
            machine.
    """

    def __init__(self, *, was_answered_before: bool) -> None:
        self.has_answered = False
        """In this run."""
        self._was_answered_before = was_answered_before
        self._count = 0
        self._rows: set[str] = set()
        self._next_check = IN_A_ROW

    @property
    def held_back(self) -> int:
        """Calls fewer in flight, so that no more than five are sent before the first answer."""
        is_first = not self.has_answered and not self._was_answered_before
        return max(0, self._count - 1) if is_first else 0

    def record_answer(self) -> None:
        """Note an answer: what was refused before was refused for its own sake."""
        self.has_answered = True
        if self._count:
            self._count = 0
            self._rows.clear()
            self._next_check = IN_A_ROW

    def record(self, request: Request, error: RequestRejected) -> None:
        """Note a refusal."""
        if error.reason in _REASONS:
            self._count += 1
            self._rows.add(request.prompt_id)

    @property
    def are_first(self) -> bool:
        """Whether the first calls were refused, and the model has answered nobody."""
        if self.has_answered or self._was_answered_before:
            return False
        return self._count >= IN_A_ROW

    def take_check(self) -> bool:
        """Return whether a small request has to show now what is at fault."""
        is_due = self._count >= self._next_check and len(self._rows) >= IN_A_ROW
        if is_due:
            # Twice as many before the next one, if this one is answered.
            self._next_check = 2 * self._count
        return is_due

    def message(self, name: str, error: Exception) -> str:
        """Return what stops the run, with the server's own words."""
        if self.has_answered or self._was_answered_before:
            return (
                f"{name} has refused the latest {self._count} calls and a short one of the "
                f"same form: {error}"
            )
        return (
            f"{name} has refused the first {self._count} calls and answered none: "
            f"{error}"
        )


def small_request(request: Request) -> Request:
    """Return a request of the same form that says next to nothing."""
    messages: tuple[Message, ...] = (
        Message(role="user", content="This is a test. Answer as briefly as you can."),
    )
    first = request.messages[0]
    if first.role == "system":
        messages = (Message(role="system", content="Be brief."), *messages)
    return replace(request, messages=messages, inputs=None)
