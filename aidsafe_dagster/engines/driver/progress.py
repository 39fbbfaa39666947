"""What a drive has done so far, in counts."""

import time
from dataclasses import dataclass, field

from aidsafe_dagster.engines.server_load import ServerLoad
from aidsafe_dagster.recipe.records import Usage


@dataclass
class Progress:
    """Counts of one drive so far; `asked` are the calls that reached the engine and were answered."""

    rows: int
    rows_done: int = 0
    rows_failed: int = 0
    asked: int = 0
    replayed: int = 0
    read_ahead: int = 0
    """Of the asked calls, those that were asked before the drive began, by reading ahead in the same run."""
    tried_again: int = 0
    in_flight: int = 0
    """All that the driver works on, what it reads ahead included."""
    peak_in_flight: int = 0
    usage: Usage = Usage()
    """Of the asked calls alone: what this run cost."""
    load: ServerLoad | None = None
    """Of the model server meanwhile, if it tells."""
    notice: str = ""
    """Why calls wait, while they do."""
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def take_over(self, ahead: "Progress") -> None:
        """What was asked for this stage before a step waited for it."""
        self.asked += ahead.asked
        self.read_ahead += ahead.asked
        self.tried_again += ahead.tried_again
        self.usage += ahead.usage
