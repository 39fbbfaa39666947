"""Settings of the driver (`[driver]`)."""

from pydantic import Field

from aidsafe_dagster.recipe.records import Record


class DriverSettings(Record):
    calls_in_flight: int | None = Field(default=None, ge=1)
    """At most so many calls are with the engine at a time, over all runs of this machine that share `home`; None: as
    many as it has slots for."""
    max_attempts: int = Field(default=5, ge=1)
    """Attempts at one call before its row fails. An outage of the engine costs none."""
    backoff_s: float = Field(default=0.5, ge=0)
    """Wait before the second attempt; doubled for each further one, with jitter. A server's Retry-After is obeyed."""
    max_backoff_s: float = Field(default=30.0, ge=0)
    patience_s: float = Field(default=3600.0, ge=0)
    """So long calls wait for an engine that answers nothing at all, before their rows fail."""
    first_answer_s: float = Field(default=120.0, ge=0)
    """So long for an engine that has never answered anybody; then the run stops, since its address may be wrong."""
    read_ahead: bool = True
    """Slots that a stage leaves free work on the next stages' rows."""
