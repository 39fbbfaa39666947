"""Settings of the driver (`[driver]`)."""

from pydantic import Field

from aidsafe_dagster.recipe.records import Record


class DriverSettings(Record):
    calls_in_flight: int | None = Field(default=None, ge=1)
    """Most calls in flight at a time, over all runs of this machine that share `home`. None: as
    many as the engine has slots."""
    max_attempts: int = Field(default=5, ge=1)
    """Retry budget: attempts at one call before its row fails. Neither an outage of the server nor
    a rate limit costs any."""
    backoff_s: float = Field(default=0.5, ge=0)
    """Wait before the second attempt, doubled for each further one, with jitter. A server's
    Retry-After header is obeyed."""
    max_backoff_s: float = Field(default=30.0, ge=0)
    patience_s: float = Field(default=3600.0, ge=0)
    """How long calls wait for a server that is down before their rows fail. The run stops if a
    server asks to wait longer than this, or refuses every call as busy for so long."""
    first_answer_s: float = Field(default=120.0, ge=0)
    """The same for a server that has never answered anybody. Then the run stops, since the address
    may be wrong."""
    stall_s: float = Field(default=120.0, gt=0)
    """Seconds without any answer after which the run's log says that nothing moves, and what is
    waited for."""
    read_ahead: bool = True
    """Use the slots that a stage leaves free for rows of the next stages."""
