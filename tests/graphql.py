"""Queries to a real web server of Dagster's."""

import json
import time
import urllib.error
import urllib.request
from typing import Any


def ask(port: int, query: str, **variables: str) -> Any:
    """Put a GraphQL query, and wait for a server that is still starting."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                answer = json.loads(reply.read())
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            assert "errors" not in answer, answer
            return answer["data"]
