"""The web UI with its daemon, as `make dev` starts them, and the requests of its buttons."""

import json
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.stages import always_made
from tests.faults.commands import is_running, printed, started, wait_until
from tests.serving import a_free_port

_LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { ... on LaunchBackfillSuccess { backfillId } }
}
"""
_TERMINATE = """
mutation Terminate($ids: [String!]!, $policy: TerminateRunPolicy!) {
  terminateRuns(runIds: $ids, terminatePolicy: $policy) {
    ... on TerminateRunsResult { terminateRunResults { __typename } }
  }
}
"""
_LOADED = (
    "{ repositoriesOrError "
    "{ ... on RepositoryConnection { nodes { name location { name } } } } }"
)


@dataclass(frozen=True)
class WebUI:
    url: str
    alive: Callable[[], bool]
    link: str
    """What `aidsafe dev` printed, with the token."""

    def backfill_job(self, batches: Sequence[str]) -> str:
        """Jobs → make_batch → Partitions → Launch backfill; returns its id."""
        (repository,) = self._loaded()
        selector = {
            "partitionSetName": "make_batch_partition_set",
            "repositorySelector": {
                "repositoryName": repository["name"],
                "repositoryLocationName": repository["location"]["name"],
            },
        }
        return self._backfill({"selector": selector, "partitionNames": list(batches)})

    def backfill_assets(self, batches: Sequence[str]) -> str:
        """Materialize all, with these partitions; returns the backfill's id."""
        assets = [{"path": [str(stage)]} for stage in always_made()]
        return self._backfill(
            {"assetSelection": assets, "partitionNames": list(batches)}
        )

    def terminate(self, run_id: str, *, force: bool) -> None:
        """Terminate, with or without "Force termination immediately"."""
        policy = "MARK_AS_CANCELED_IMMEDIATELY" if force else "SAFE_TERMINATE"
        answer = self._query(_TERMINATE, ids=[run_id], policy=policy)
        assert answer["terminateRuns"]["terminateRunResults"] == [
            {"__typename": "TerminateRunSuccess"}
        ]

    def is_up(self) -> bool:
        try:
            return bool(self._loaded())
        except OSError:
            return False

    def _loaded(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self._query(_LOADED)["repositoriesOrError"][
            "nodes"
        ]
        return nodes

    def _backfill(self, params: dict[str, Any]) -> str:
        return str(
            self._query(_LAUNCH, params=params)["launchPartitionBackfill"]["backfillId"]
        )

    def _query(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql",
            body,
            {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.link.partition('token=')[2]}",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer: dict[str, Any] = json.loads(reply.read())
        assert "errors" not in answer, answer
        return dict(answer["data"])


@contextmanager
def a_web_ui(
    folder: Path, *, token: bool = False, environ: Mapping[str, str] | None = None
) -> Iterator[WebUI]:
    """As `make dev` in the folder. At the end of the block, all its processes are killed."""
    port = a_free_port()
    aidsafe = str(Path(sys.executable).with_name("aidsafe"))
    options = ["--token"] if token else []
    with started(
        folder, aidsafe, "dev", "--port", str(port), *options, **(environ or {})
    ) as process:
        alive = is_running(process)
        wait_until(lambda: _link(folder) is not None, alive)
        ui = WebUI(f"http://127.0.0.1:{port}", alive, _link(folder) or "")
        wait_until(ui.is_up, alive)
        yield ui


def _link(folder: Path) -> str | None:
    """Return the last link that was printed."""
    links: list[str] = re.findall(r"The recipe: (\S+)\n", printed(folder))
    return links[-1] if links else None
