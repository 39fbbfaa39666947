"""Runs that were created or launched, and then nobody was left to start them.

Dagster creates a run, queues it, and asks a code server to start it. Each step takes moments. Such
a run holds no lock yet, so its lock says nothing about it. But Dagster's launcher first notes the
code server in a tag, and that server is the parent of the run's process. If the server is gone
before the run has claimed its lock, nobody will ever drive that run. Other launchers note no
server, and have a time limit of their own (`run_monitoring`).
"""

import json
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from aidsafe_dagster.primitives.passed_time import has_passed
from aidsafe_dagster.runs.dagster_internals import GRPC_INFO_TAG

HANDED_OVER_WITHIN = timedelta(seconds=60)
_CONNECT_TIMEOUT_S = 2.0


def is_abandoned(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Tell whether nobody will start this run, which has not claimed its lock yet."""
    run = record.dagster_run
    is_old = has_passed(HANDED_OVER_WITHIN, since=record.update_timestamp)
    # Dagster queues or launches a new run at once. If it did not, whoever created it is gone.
    if run.status is dg.DagsterRunStatus.NOT_STARTED:
        return is_old
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return False
    server = run.tags.get(GRPC_INFO_TAG)
    is_starting = run.status is dg.DagsterRunStatus.STARTING
    # A run that repeats another inherits its tags. The launcher replaces this one within moments.
    if is_starting and not is_old and server == _inherited_server(instance, run):
        return False
    if server is None:
        return is_starting
    return not _is_listening(json.loads(server))


def _inherited_server(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    if run.parent_run_id is None:
        return None
    parent = instance.get_run_by_id(run.parent_run_id)
    # A person may have deleted the parent.
    return parent.tags.get(GRPC_INFO_TAG) if parent else None


def _is_listening(server: Mapping[str, Any]) -> bool:
    path = server.get("socket")
    try:
        if path:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_CONNECT_TIMEOUT_S)
                probe.connect(path)
        else:
            address = (server["host"], server["port"])
            socket.create_connection(address, _CONNECT_TIMEOUT_S).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        # A server that is slow to answer may still start the run.
        return True
    return True
