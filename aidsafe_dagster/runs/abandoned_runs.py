"""Runs that were made or launched, and then nobody was left to start them.

Dagster makes a run, queues it, and asks a code server to start it; each step takes moments. Its launcher notes the
server in a tag first. The server is the parent of the run's process: if it is gone before the run has said a word,
nobody will ever drive that run. Other launchers note no server, and have their own time limit (`run_monitoring`).
"""

import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG

HANDED_OVER_WITHIN = timedelta(seconds=60)
_PATIENCE_S = 2.0


def is_abandoned(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Nobody will start this run, which has not said a word yet."""
    run, is_old = (
        record.dagster_run,
        datetime.now(UTC) - record.update_timestamp > HANDED_OVER_WITHIN,
    )
    if run.status is dg.DagsterRunStatus.NOT_STARTED:
        return is_old
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return False
    noted, starting = run.tags.get(GRPC_INFO_TAG), run.status is dg.DagsterRunStatus.STARTING
    if starting and noted == _noted_before(instance, run) and not is_old:
        return False
    return not _listens(json.loads(noted)) if noted else starting


def _noted_before(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """What the run may have inherited from the one that it repeats, and nobody has replaced yet."""
    before = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return before.tags.get(GRPC_INFO_TAG) if before else None


def _listens(server: Mapping[str, Any]) -> bool:
    try:
        if path := server.get("socket"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_PATIENCE_S)
                probe.connect(path)
        else:
            socket.create_connection((server["host"], server["port"]), _PATIENCE_S).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    return True
