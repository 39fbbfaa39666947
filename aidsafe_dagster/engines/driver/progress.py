"""Progress: what a drive has done so far, in counts."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aidsafe_dagster.recipe.records import Usage

if TYPE_CHECKING:
    # It imports an HTTP client, which a rehearsal needs not.
    from aidsafe_dagster.engines.server_load import ServerLoad


@dataclass(frozen=True)
class Rates:
    """What is answered in a second."""

    calls: float
    tokens_in: float
    """Cached ones included."""
    tokens_out: float


@dataclass
class Progress:
    """Counts of one drive so far."""

    rows: int
    rows_done: int = 0
    rows_failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Failed rows by reason. What the row gate refuses later is not among them."""
    rows_begun: int = 0
    completions: int = 0
    """Answers that rows have been given, from the engine or the journal."""
    completions_of_done: int = 0
    """Of these, those of rows that are done."""
    calls_made: int = 0
    """Calls that the engine answered, those read ahead included."""
    replayed: int = 0
    """Calls answered by the journal (cache hits)."""
    read_ahead: int = 0
    """Of the calls made, those that read-ahead made in this run before the drive began."""
    retries: int = 0
    in_flight: int = 0
    """All calls that the driver has in flight, those of the read-ahead included."""
    peak_in_flight: int = 0
    oldest_sent: float | None = None
    """When the oldest of these was sent, in monotonic seconds. None: none is in flight."""
    usage: Usage = Usage()
    """Of the calls made: what this run cost."""
    usage_ahead: Usage = Usage()
    """Of these, what was read ahead before the drive began."""
    load: "ServerLoad | None" = None
    """Load of the model server meanwhile, if it publishes any."""
    notice: str = ""
    """Why calls wait, while they do."""
    ticked: float = field(default_factory=time.monotonic)
    """When the driver last looked after this drive, in monotonic seconds."""
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def oldest_call_s(self) -> float | None:
        """Seconds since the oldest call in flight was sent; None: none is in flight."""
        if self.oldest_sent is None:
            return None
        return time.monotonic() - self.oldest_sent

    @property
    def cached_share(self) -> float | None:
        """Share of the prompt tokens that a prefix cache served; None before the first token."""
        if not self.usage.prompt_tokens:
            return None
        return self.usage.cached_tokens / self.usage.prompt_tokens

    @property
    def mean_rates(self) -> "Rates":
        """Calls and tokens a second since the drive began, without what was read ahead."""
        seconds = self.seconds or 1.0
        ahead = self.usage_ahead
        return Rates(
            calls=(self.calls_made - self.read_ahead) / seconds,
            tokens_in=(self.usage.prompt_tokens - ahead.prompt_tokens) / seconds,
            tokens_out=(self.usage.completion_tokens - ahead.completion_tokens)
            / seconds,
        )

    @property
    def moves(self) -> tuple[int, ...]:
        """Counts of which one grows whenever anything happens."""
        return (
            self.rows_done,
            self.calls_made,
            self.replayed,
            self.retries,
            self.peak_in_flight,
        )

    def take_over(self, read_ahead: "Progress") -> None:
        """Add the calls that read-ahead made for this stage before the drive began."""
        self.calls_made += read_ahead.calls_made
        self.read_ahead += read_ahead.calls_made
        self.retries += read_ahead.retries
        self.usage += read_ahead.usage
        self.usage_ahead += read_ahead.usage
