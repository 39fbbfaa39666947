"""Schedules: the nightly ingestion."""

import dagster as dg

from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.ingestion import ingest_sources


def nightly_ingest(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule that ingests the configured sources every night."""
    status = dg.DefaultScheduleStatus.STOPPED
    if settings.automation.nightly_ingest:
        status = dg.DefaultScheduleStatus.RUNNING
    return dg.ScheduleDefinition(
        name="nightly_ingest",
        job=ingest_sources,
        cron_schedule=settings.automation.ingest_cron,
        default_status=status,
        description="Takes in what is new in the sources",
    )
