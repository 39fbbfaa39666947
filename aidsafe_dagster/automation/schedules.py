"""Schedules: the nightly ingestion."""

import dagster as dg

from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.ingestion import ingest_sources


def nightly_ingest(settings: Settings) -> dg.ScheduleDefinition:
    """Ingests the configured sources every night."""
    return dg.ScheduleDefinition(
        name="nightly_ingest",
        job=ingest_sources,
        cron_schedule=settings.automation.ingest_cron,
        default_status=_status_schedule(settings.automation.nightly_ingest),
        description="Takes in what is new in the sources",
    )


def _status_schedule(running: bool) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
