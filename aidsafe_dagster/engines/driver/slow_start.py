"""SlowStart: how many calls a model is sent at a time until it is known to answer.

It works like a semaphore whose size grows by one with every answer, and so doubles with each round
of them. It starts low for a model that has never answered on this machine, so that a mistake in the
settings costs few calls, and after an outage, so that a recovering server is not met by all waiting
calls at once.
"""

_FIRST_CALLS = 4
_SHARE_AFTER_OUTAGE = 1 / 8


class SlowStart:
    """A limit between 1 and `maximum`.

    Args:
        maximum: calls that the model can work on at a time.
        has_answered: whether it has ever answered on this machine.
    """

    def __init__(self, maximum: int, *, has_answered: bool) -> None:
        self.maximum = maximum
        self.limit = maximum if has_answered else min(_FIRST_CALLS, maximum)

    def record_answer(self) -> None:
        """Let one more call go at a time."""
        if self.limit < self.maximum:
            self.limit += 1

    def restart(self) -> None:
        """Start low again after an outage."""
        self.limit = max(1, int(self.maximum * _SHARE_AFTER_OUTAGE))
