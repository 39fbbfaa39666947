"""A loopback Hub, and a proxy in front of it that can drop the connection."""

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
"""Called with method and path before a request is forwarded; True drops its answer."""


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
        {
            "method": method,
            "path": path,
            "status": status,
            "times": times,
            "headers": headers,
        }
    )


def someone_commits(hub: Any, **files: bytes) -> str:
    """Commit as somebody else; `README_md` stands for README.md."""
    repo = the_repo(hub)
    head = repo.branches["main"]
    changes = {name.replace("_", "."): hub.blob(data) for name, data in files.items()}
    tree = repo.commits[head].tree | changes
    commit = hub._commit(repo, head, "by somebody else", "", tree)
    repo.branches["main"] = commit
    return str(commit)


def files_there(hub: Any) -> dict[str, bytes]:
    repo = the_repo(hub)
    tree = repo.commits[repo.branches["main"]].tree
    return {path: hub.read(blob) for path, blob in tree.items()}


def commits(hub: Any) -> int:
    """Number of commits after the one that creates the repository."""
    return len(the_repo(hub).commits) - 1


@contextmanager
def a_proxy(hub: Any, hook: Hook) -> Iterator[str]:
    """Yield the URL of a proxy to the Hub."""
    attributes = {"target": urlsplit(hub.base).netloc, "hook": staticmethod(hook)}
    handler = type("Proxy", (_Proxy,), attributes)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    ).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    hook: Hook

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        drops_answer = self.hook(self.command, self.path)
        upstream = http.client.HTTPConnection(self.target, timeout=30)
        upstream.request(self.command, self.path, body, dict(self.headers))
        response = upstream.getresponse()
        content = response.read()
        upstream.close()
        self.close_connection = True
        if drops_answer:
            return
        self.send_response(response.status)
        for name, value in response.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    # http.server looks the methods up by these names.
    do_GET = _forward  # noqa: N815
    do_POST = _forward  # noqa: N815
    do_PUT = _forward  # noqa: N815
    do_DELETE = _forward  # noqa: N815
    do_HEAD = _forward  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""
