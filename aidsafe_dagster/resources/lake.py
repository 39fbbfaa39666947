"""The lake as a Dagster resource.

Every step of every job has it. So it also holds the locks of a run: the run's own, which shows that
it is alive, and that of its batch, from before its first step to after its last.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Self

import dagster as dg

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.runs.batch_claims import HELD_TAG, claim_batch
from aidsafe_dagster.runs.liveness import describe_this_run, hold_run
from aidsafe_dagster.runs.process_tags import this_process

_PARTITION_TAG = "dagster/partition"


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens the lake of the settings: a local folder or any fsspec URL."""

    settings: dg.ResourceDependency[SettingsResource]

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Self]:
        """Lasts as long as the run does in this process."""
        if context.instance is None or context.run is None:
            yield self
            return
        settings, batch = self.settings.load(), context.run.tags.get(_PARTITION_TAG)
        with ExitStack() as held:
            held.enter_context(hold_run(context.instance, context.run, settings))
            if batch is not None and context.run.tags.get(HELD_TAG) != this_process():
                holder = describe_this_run(context.run)
                held.enter_context(claim_batch(batch, settings, holder, _teller(context)))
            yield self

    def open(self) -> Lake:
        return Lake(self.settings.load().lake)


def _teller(context: dg.InitResourceContext) -> Callable[[str], None]:
    return context.log.info if context.log else lambda _: None
