"""The pages on all rows, served on loopback behind the door as `aidsafe view` does."""

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.viewer.pages import RowPages
from aidsafe_dagster.web_ui.door import Door, loopback_hosts
from tests.serving import a_free_port


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Viewer:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Ask for a page; no redirect is followed."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers=names)
            reply = connection.getresponse()
            text = reply.read().decode("utf-8")
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, found, text)
        finally:
            connection.close()


@contextmanager
def a_viewer(home: Path) -> Iterator[Viewer]:
    """Serve the rows of the lake in a folder."""
    environment = {"AIDSAFE_HOME": str(home)}
    settings = load_settings(home, environ=environment).settings
    pages = RowPages(settings)
    port = a_free_port()
    door = Door(pages.app(), loopback_hosts(port))
    config = uvicorn.Config(door, host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        pages.index.refresh()
        while not server.started:
            time.sleep(0.02)
        yield Viewer(port)
    finally:
        server.should_exit = True
        thread.join()
        pages.index.close()
