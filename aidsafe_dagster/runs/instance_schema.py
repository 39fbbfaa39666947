"""Whether the databases of the Dagster instance fit the Dagster that is installed."""

import dagster as dg


def describe_schema(instance: dg.DagsterInstance) -> tuple[bool, str]:
    """Tell whether all databases are at the revision of this Dagster, and in words how they stand.

    Dagster itself says nothing until a query fails for want of a column.
    """
    versions = {
        "runs": instance.run_storage.alembic_version(),
        "events": instance.event_log_storage.alembic_version(),
        "schedules": instance.schedule_storage.alembic_version()
        if instance.schedule_storage
        else None,
    }
    others = []
    for name, version in versions.items():
        # A storage in memory has no revision.
        if version and version[0] != version[1]:
            others.append(f"{name} at {version[0]}, not {version[1]}")
    if not others:
        return True, f"Dagster {dg.__version__}, its databases are of this release"
    return False, (
        f"its databases are of another release than Dagster {dg.__version__}: "
        f"{'; '.join(others)}. End what runs, copy them, and run `dagster instance migrate`. If "
        "that cannot locate the revision, a later Dagster made them: install that one"
    )
