"""scripts/audit against a database on loopback: a vulnerability fails it, and so does silence."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.serving import a_free_port
from tests.site import ROOT

LONG_KNOWN = "jinja2"
"""The audit asks for an old release of it first, to see whether the database knows anything."""
PINS = "frob-tools==1.2.3\nother-tools==4.5\n"


def a_vulnerability(package: str, version: str) -> dict[str, Any]:
    of = {"name": package, "ecosystem": "PyPI"}
    fixed = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.4"}]}
    affected = [{"package": of, "ranges": [fixed], "versions": [version]}]
    return {
        "id": "PYSEC-2026-77",
        "modified": "2026-01-01T00:00:00Z",
        "summary": "x",
        "affected": affected,
    }


@contextmanager
def a_database(*vulnerable: str) -> Iterator[str]:
    """Knows something against every release of these packages, in the protocol of OSV."""

    class Database(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, version = query["package"]["name"], query["version"]
            answer = (
                {"vulns": [a_vulnerability(name, version)]}
                if name in vulnerable
                else {}
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Database)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def audit(tmp_path: Path, database: str) -> tuple[int, str]:
    pins = tmp_path / "constraints.txt"
    pins.write_text(PINS)
    script = [sys.executable, str(ROOT / "scripts" / "audit"), str(pins)]
    options = [
        "--",
        "--vulnerability-service",
        "osv",
        "--osv-url",
        database,
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    done = subprocess.run(
        [*script, *options], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout


def test_a_known_vulnerability_fails_the_audit_and_is_named_with_the_release_that_mends_it(
    tmp_path: Path,
) -> None:
    with a_database(LONG_KNOWN, "frob-tools") as database:
        code, output = audit(tmp_path, database)
    assert code == 1
    assert "frob-tools 1.2.3: PYSEC-2026-77, fixed in 1.2.4" in output


def test_nothing_known_passes_and_says_how_many_were_looked_up(tmp_path: Path) -> None:
    with a_database(LONG_KNOWN) as database:
        assert audit(tmp_path, database) == (
            0,
            "2 packages audited, 0 known vulnerabilities\n",
        )


def test_a_database_without_vulnerabilities_is_no_pass_and_is_said(
    tmp_path: Path,
) -> None:
    with a_database() as database:
        code, output = audit(tmp_path, database)
    assert code == 2
    assert output.startswith("NOT AUDITED")
    assert "it holds no vulnerabilities" in output


def test_a_database_that_cannot_be_reached_is_no_pass_and_is_said(
    tmp_path: Path,
) -> None:
    code, output = audit(tmp_path, f"http://127.0.0.1:{a_free_port()}/v1/query")
    assert code == 2
    assert output.startswith("NOT AUDITED")
    assert "Connection" in output
