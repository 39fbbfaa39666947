"""The lake as a Dagster resource.

Every step of every job has it. So it is also what a run says that it is alive by, and what it holds
its batch by, from before its first step to after its last.
"""

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Self

import dagster as dg

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.runs.batch_claims import HELD_TAG, claim_batch
from aidsafe_dagster.runs.liveness import heartbeat, this_process

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
        settings, batch = self.settings.snapshot.settings, context.run.tags.get(_PARTITION_TAG)
        with ExitStack() as held:
            held.enter_context(
                heartbeat(context.instance, context.run, settings.automation.lost_after_s)
            )
            if batch is not None and context.run.tags.get(HELD_TAG) != this_process():
                who = f"process {os.getpid()} (run {context.run.run_id[:8]})"
                held.enter_context(claim_batch(batch, settings, who, _teller(context)))
            yield self

    def open(self) -> Lake:
        return Lake(self.settings.snapshot.settings.lake)


def _teller(context: dg.InitResourceContext) -> Callable[[str], None]:
    return context.log.info if context.log else lambda _: None
