"""A PostgreSQL server for tests: Debian's, with its own folder, port and password."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from tests.serving import a_free_port

USER = DATABASE = "aidsafe"


@dataclass
class Postgres:
    """A server. It refuses to run as root, so root runs it as Debian's user `postgres`."""

    address: str
    port: int
    folder: Path
    password: str = field(repr=False)
    durable: bool = False
    """Whether a commit waits for the disk, as a server does that is in use."""
    _process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = DATABASE) -> str:
        """The URL without the password, which is in PGPASSWORD."""
        return f"postgresql+psycopg2://{USER}@{self.address}:{self.port}/{database}"

    def rows(self, query: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Return what a query yields; nothing if it is no query."""
        with (
            closing(self._connect(database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def dump(self) -> bytes:
        """Everything in the database, as text."""
        environment = os.environ | {"PGPASSWORD": self.password}
        address = ["-h", self.address, "-p", str(self.port)]
        command = [program("pg_dump"), *address, "-U", USER, DATABASE]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True
        ).stdout

    def create_database(self, name: str) -> None:
        with (
            closing(self._connect("postgres")) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(f"CREATE DATABASE {name}")

    def initialise(self) -> None:
        """Create the server's files; who has the password may connect from anywhere."""
        (self.folder / "password").write_text(self.password)
        if self._account:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        login = [
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(self.folder / "password"),
        ]
        command = [
            program("initdb"),
            "-D",
            str(self.folder / "data"),
            *login,
            "--no-sync",
        ]
        subprocess.run(
            command, **self._account, check=True, stdout=subprocess.DEVNULL, cwd="/"
        )
        with (self.folder / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all 0.0.0.0/0 scram-sha-256\n")

    def start(self) -> None:
        address = ["-c", f"listen_addresses={self.address}", "-p", str(self.port)]
        folders = ["-D", str(self.folder / "data"), "-k", str(self.folder)]
        fsync = ["-c", f"fsync={'on' if self.durable else 'off'}"]
        command = [program("postgres"), *folders, *address, *fsync]
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                command, **self._account, stderr=log, cwd="/"
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self._connect("postgres").close()
            except psycopg2.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError((self.folder / "log").read_text())

    @property
    def pid(self) -> int:
        """The process that all others of the server descend from."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End all connections and then the server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)

    def kill(self) -> None:
        """End all its processes as a crash would."""
        assert self._process is not None
        processes = [self._process.pid]
        for child in psutil.Process(self._process.pid).children(recursive=True):
            processes.append(child.pid)
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(60)

    @property
    def _account(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": "postgres", "group": "postgres", "extra_groups": []}

    def _connect(self, database: str) -> Any:
        connection = psycopg2.connect(
            host=self.address,
            port=self.port,
            user=USER,
            password=self.password,
            dbname=database,
            connect_timeout=5,
        )
        connection.autocommit = True
        return connection


@contextmanager
def a_postgres(
    address: str = "127.0.0.1", *, durable: bool = False
) -> Iterator[Postgres]:
    """A running server with an empty database, for as long as the block lasts.

    It listens only at `address`.
    """
    folder = Path(tempfile.mkdtemp(prefix="aidsafe-postgres-"))
    port, password = a_free_port(address), secrets.token_hex(12)
    server = Postgres(address, port, folder, password, durable)
    try:
        server.initialise()
        server.start()
        server.create_database(DATABASE)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def program(name: str) -> str:
    """Debian keeps the server's programs off the path."""
    path = shutil.which(name)
    if path is None:
        versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        assert versions, f"{name} is not installed: apt-get install postgresql"
        path = str(versions[-1])
    return path
