"""What is known of a server's rate limit; processes share it as a small file (`rate_file.py`)."""

from dataclasses import dataclass
from enum import StrEnum

FIRST_GAP_S = 0.25
"""Before the first probe. Doubled for each further one."""
NEVER = 0.0


class Mode(StrEnum):
    FREE = "free"
    PROBING = "probing"
    PACED = "paced"
    RAMP = "ramp"


@dataclass
class RateState:
    """What is known of a server's limit.

    Times are seconds on the machine's own clock (`time.monotonic`), which nobody sets and all its
    processes share. It begins anew when the machine does, and then old times lie ahead.
    """

    mode: Mode = Mode.FREE
    updated: float = NEVER
    known: float | None = None
    """The limit that was set when this began."""
    rate: float | None = None
    """Units a second: calls, or tokens where only a limit of tokens is set."""
    base_rate: float = 0.0
    """The rate after the latest rejection."""
    search_step: float = 0.0
    """The rate is a guess, and grows by this part per call until the next rejection. 0: it is
    none."""
    unit: float = 1.0
    """Units of one call: 1, or its tokens on average."""
    next_at: float = NEVER
    """Before this no call is sent."""
    next_tokens_at: float = NEVER
    """The same for the second limit, where calls and tokens are limited."""
    pause_until: float = NEVER
    """The server has asked to wait until then."""
    event_at: float = NEVER
    """Time of the latest rejection that was an event of its own."""
    accepted: float = 0.0
    """Units since then."""
    closed_at: float = NEVER
    """Time of the first rejection in the present row of them."""
    rejections: int = 0
    """Rejections in a row."""
    latency: float = 0.05
    """Seconds in which a rejection comes."""

    outcomes: str = ""
    """Of the latest calls that were sent one by one: 'a' accepted, 'r' rejected."""
    admitted: float = 0.0
    """Calls accepted before the first rejections."""
    indifferent_until: float = NEVER
    """Until then rejections say nothing about the rate."""

    probe_at: float | None = None
    """When the probe was sent that is under way."""
    gap: float = FIRST_GAP_S

    ramp_at: float = NEVER
    batch: int = 0
    """Calls of the present batch."""
    batch_left: int = 0
    batch_answered: int = 0
    batch_at: float = NEVER
    """When the latest call of the batch was sent."""
    ramped: float = 0.0
    """Units accepted in the present ramp."""
    allowance: float | None = None
    """Units that a ramp may use: those of a minute, of a full bucket, of the latest window."""
    is_window: bool = False
    """The server opens and closes, as a fixed window does."""
    opened_after: float | None = None
    opened_at: float = NEVER
    """The latest opening was after the first and not later than the second."""
    period: float | None = None
    """Seconds from opening to opening."""


@dataclass(eq=False)
class Send:
    """A call that was sent, as the limiter has counted it."""

    at: float
    units: float
    tokens: float
    number: int = 0
    """In the order of sending, while no limit is known."""
    is_rejected: bool = False


@dataclass(frozen=True)
class Limit:
    """Per second; None: not known."""

    calls: float | None = None
    tokens: float | None = None
