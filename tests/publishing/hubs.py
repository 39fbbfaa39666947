"""A loopback Hub, and a line to it that can be cut."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from tests.loopback_hub import serve

TOKEN = "hf_marked_token_that_nobody_may_see"
READER = "hf_token_of_somebody_who_may_only_read"
REPO = "acme/cot"
Hook = Callable[[str, str], bool]
"""Told method and path before a request goes on; True cuts the line before its answer comes back."""


@contextmanager
def a_hub(folder: Path) -> Iterator[Any]:
    tokens = {
        TOKEN: {"name": "tester", "role": "write", "orgs": ["acme"]},
        READER: {"name": "reader", "role": "read", "orgs": ["acme"]},
    }
    with serve(folder / "hub", tokens=tokens) as hub:
        yield hub


def the_repo(hub: Any) -> Any:
    return hub.repos["dataset", REPO]


def fail(
    hub: Any, method: str, path: str, status: int, times: int = 1, retry_after: str = ""
) -> None:
    headers = {"Retry-After": retry_after} if retry_after else {}
    hub.faults.append(
        {"method": method, "path": path, "status": status, "times": times, "headers": headers}
    )


def someone_commits(hub: Any, **files: bytes) -> str:
    """A commit by somebody else; `README_md` stands for README.md."""
    repo = the_repo(hub)
    tree = repo.commits[repo.branches["main"]].tree
    changed = {name.replace("_", "."): hub.blob(data) for name, data in files.items()}
    repo.branches["main"] = hub._commit(
        repo, repo.branches["main"], "by somebody else", "", tree | changed
    )
    return str(repo.branches["main"])


def files_there(hub: Any) -> dict[str, bytes]:
    repo = the_repo(hub)
    return {path: hub.read(blob) for path, blob in repo.commits[repo.branches["main"]].tree.items()}


def commits(hub: Any) -> int:
    """Made after the one that makes the repository."""
    return len(the_repo(hub).commits) - 1


@contextmanager
def a_line(hub: Any, hook: Hook) -> Iterator[str]:
    """The address of a proxy to the Hub."""
    handler = type(
        "Line", (_Line,), {"target": urlsplit(hub.base).netloc, "hook": staticmethod(hook)}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Line(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    hook: Hook

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        cut = self.hook(self.command, self.path)
        far = http.client.HTTPConnection(self.target, timeout=30)
        far.request(self.command, self.path, body, dict(self.headers))
        answer = far.getresponse()
        content = answer.read()
        far.close()
        self.close_connection = True
        if cut:
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - the names that the server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""
