"""The lake as a Dagster resource.

Every step of every job has it. So it also holds the locks of a run, from before its first step
until after its last: the run's own, which shows that it is alive, and that of its batch.
"""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Self

import dagster as dg
from pydantic import PrivateAttr

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.held_lock import HeldLock
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.runs.batch_claims import HELD_TAG, claim_batch, claim_of
from aidsafe_dagster.runs.liveness import describe_this_run, hold_run
from aidsafe_dagster.runs.process_tags import this_process

_PARTITION_TAG = "dagster/partition"


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens the lake of the settings: a local folder or any fsspec URL."""

    settings: dg.ResourceDependency[SettingsResource]
    _claim: HeldLock | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Self]:
        """Show that the run is alive and hold its batch, while it lasts in this process."""
        instance = context.instance
        run = context.run
        # Outside a run, in a test for example, there is nothing to hold.
        if instance is None or run is None:
            yield self
            return
        settings = self.settings.snapshot.settings
        batch = run.tags.get(_PARTITION_TAG)
        with ExitStack() as stack:
            # First of all, since a run that waits for its batch must not be taken for dead.
            stack.enter_context(hold_run(instance, run, settings))
            # The command line claims the batch itself, before it starts the run.
            if batch is not None and run.tags.get(HELD_TAG) != this_process():
                holder = describe_this_run(run)
                log = context.log.info if context.log else _ignore
                stack.enter_context(claim_batch(batch, settings, holder, log))
            self._claim = claim_of(batch)
            yield self

    def open(self) -> Lake:
        """Return the lake; in a run of a batch it writes only while the batch is held."""
        fence = self._claim.confirm if self._claim else None
        return Lake(self.settings.snapshot.settings.lake, fence)


def _ignore(_: str) -> None:
    """Take a line for a log that does not exist."""
