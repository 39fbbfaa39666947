"""A small cluster: PostgreSQL, an object store, a model server, a control host and two workers.

The hosts share nothing but the three services.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl

from tests.distributed.hosts import Host, Network, a_network, some_hosts
from tests.distributed.object_store import SECRET, ObjectStore, an_object_store
from tests.distributed.postgres import Postgres, a_postgres
from tests.runs.test_resume import LENIENT
from tests.serving import ModelServer, a_free_port, a_model_server
from tests.site import ROOT, prepare, prompts_file, some_prompts

KEY = "sk-zqmk-endpoint-77aa"
DEPLOY = ROOT / "deploy" / "hosts"
LOST_AFTER_S = 10.0
CALLS_IN_FLIGHT = 4
"""Of one worker."""
AIDSAFE = ("python", "-m", "aidsafe_dagster.cli")
CONTROL, WORKER = str(DEPLOY / "control.sh"), str(DEPLOY / "worker.sh")


@dataclass(frozen=True)
class Cluster:
    network: Network
    postgres: Postgres
    store: ObjectStore
    model: ModelServer

    @property
    def variables(self) -> dict[str, str]:
        """The variables that deploy/hosts/environment.sh leaves to each team, and the secrets."""
        return {
            "POSTGRES_URL": self.postgres.url(),
            "PGPASSWORD": self.postgres.password,
            "AIDSAFE_API_KEY": KEY,
            "AIDSAFE_LAKE_URL": self.store.url,
            **self.store.environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PORT": str(a_free_port()),
        }

    @property
    def secrets(self) -> list[bytes]:
        return [secret.encode() for secret in (self.postgres.password, SECRET, KEY)]

    @contextmanager
    def hosts(self, folder: Path) -> Iterator[tuple[Host, Host, Host]]:
        """A control host and two workers; tests start what runs on them."""
        with some_hosts(
            self.network, folder, ("control", "worker-a", "worker-b"), self.variables
        ) as hosts:
            for host in hosts:
                self._prepare(host.folder)
            control, first, second = hosts
            yield control, first, second

    def runs(self) -> dict[str, list[str]]:
        """The statuses of each batch's runs, latest first."""
        query = (
            "SELECT tag.value, run.status"
            " FROM runs run JOIN run_tags tag ON tag.run_id = run.run_id"
            " WHERE tag.key = 'dagster/partition' ORDER BY run.id DESC"
        )
        statuses: dict[str, list[str]] = {}
        for batch, status in self.postgres.rows(query):
            statuses.setdefault(batch, []).append(status)
        return statuses

    def table(self, name: str) -> pl.DataFrame:
        """The rows of all batches of a table in the object store."""
        files = [
            data for path, data in self.store.files().items() if _is_rows_of(path, name)
        ]
        return pl.concat([pl.read_parquet(BytesIO(data)) for data in files])

    def calls_journaled(self) -> int:
        """The number of completions in the journal; 0 before a host has opened it."""
        if self.postgres.rows("SELECT to_regclass('completions')") == [(None,)]:
            return 0
        ((count,),) = self.postgres.rows("SELECT count(*) FROM completions")
        return int(count)

    def calls_answered(self) -> int:
        """The number of calls that the model server has answered since its last reset."""
        return int(self.model.stats()["ok"])

    def prompts(self, source: str) -> pl.DataFrame:
        return self.table("ingested").filter(pl.col("source") == source)

    def wait_until(
        self, is_done: Callable[[], bool], what: str, timeout_s: float = 280
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_done():
            timeout = f"waited {timeout_s:.0f} s in vain until {what}: {self.runs()}"
            assert time.monotonic() < deadline, timeout
            time.sleep(0.25)

    def _prepare(self, folder: Path) -> None:
        prepare(
            folder,
            engine="endpoint",
            endpoint={
                "base_url": self.model.base_url,
                "model": "fake-model",
                "timeout_s": 60,
            },
            driver={
                "calls_in_flight": CALLS_IN_FLIGHT,
                "backoff_s": 0.05,
                "max_backoff_s": 0.5,
            },
            checks=LENIENT,
            pairs={"max_similarity": 1.0},
            ingest={"batch_size": 4},
            automation={"lost_after_s": LOST_AFTER_S},
        )
        shutil.copy(DEPLOY / "dagster.yaml", folder)


@contextmanager
def a_cluster(folder: Path) -> Iterator[Cluster]:
    """The running services; tests add the hosts."""
    with (
        a_network() as network,
        a_postgres(network.address) as postgres,
        an_object_store(network.address) as store,
        a_model_server(folder, address=network.address) as model,
    ):
        yield Cluster(network, postgres, store, model)


def ingest(host: Host, name: str, first: int, count: int) -> list[str]:
    """Ingest some of `some_prompts`; return the keys of their batches of four."""
    source = prompts_file(host.folder, some_prompts(first + count)[first:], name)
    host.run(*AIDSAFE, "ingest", source["path"])
    return [f"{name}-{number:04d}" for number in range(1, count // 4 + 1)]


def backfill(host: Host, batches: list[str]) -> None:
    """Launch a backfill as the UI does."""
    keys = ["--partitions", ",".join(batches), "--noprompt"]
    host.run(
        "dagster",
        "job",
        "backfill",
        "--workspace",
        "workspace.yaml",
        "--job",
        "make_batch",
        *keys,
    )


def _is_rows_of(path: str, table: str) -> bool:
    return path.startswith(f"{table}/batch=") and path.endswith("/rows.parquet")
