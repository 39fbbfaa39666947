"""`aidsafe doctor`: what is in force, where it came from, and whether what it names can be reached."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.engines.vllm.server import VLLMServer
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, without_passwords
from aidsafe_dagster.recipe.templates import Templates
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.settings.load import Loaded
from aidsafe_dagster.settings.schema import Settings

_SECRET = re.compile(r"(key|token|secret|password)$", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    what: str
    ok: bool | None
    """None: not needed with these settings, or cannot be told."""
    detail: str


def values_in_force(loaded: Loaded) -> Iterator[tuple[str, str, str]]:
    """(dotted key, value, where it came from) of every setting."""
    yield from _values(loaded.settings.model_dump(mode="json"), "", loaded)


def examine(settings: Settings) -> Iterator[Finding]:
    """Probes everything that the settings name."""
    yield _probe("policies", lambda: _policies(settings))
    yield _probe("templates", lambda: f"{Templates(settings.prompts).folder}")
    yield _probe("tokens", lambda: token_counter(settings).name)
    yield _probe("journal", lambda: _journal(settings))
    yield _probe("lake", lambda: _lake(settings))
    yield _engine(settings)
    yield _hub()
    yield _gpu()


def _values(node: Any, prefix: str, loaded: Loaded) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _values(value, f"{prefix}.{key}" if prefix else key, loaded)
        return
    origin = next(
        (o for k, o in loaded.origins.items() if prefix == k or prefix.startswith(f"{k}.")),
        "default",
    )
    yield prefix, _masked(prefix, str(node)), origin


def _masked(key: str, value: str) -> str:
    """A value without what should not be read over a shoulder: passwords in URLs, and keys where none belong."""
    if value and _SECRET.search(key) and not key.endswith("_env"):
        return "***"
    return without_passwords(value)


def _probe(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except Exception as error:  # noqa: BLE001 - whatever is wrong is what the doctor is asked to tell
        told = str(error) if isinstance(error, SetupError) else f"{type(error).__name__}: {error}"
        return Finding(what, False, without_passwords(told))


def _policies(settings: Settings) -> str:
    policies = settings.load_policies()
    return f"{len(policies.policies)} policies, {len(policies.rule_ids)} rules, version {policies.version}"


def _journal(settings: Settings) -> str:
    journal = Journal(settings.journal)
    journal.close()
    return repr(journal.url)


def _lake(settings: Settings) -> str:
    lake = Lake(settings.lake)
    trial = lake.root / f".doctor-{uuid4().hex}"
    lake.root.mkdir(parents=True, exist_ok=True)
    trial.write_bytes(b"")
    trial.unlink()
    free = f", {shutil.disk_usage(str(lake.root)).free / 2**30:.0f} GiB free" if lake.local else ""
    return f"{lake.root} can be written{free}"


def _engine(settings: Settings) -> Finding:
    if settings.engine == "rehearsal":
        return Finding(
            "engine",
            True,
            "rehearsal: simulated answers, no model; its rows are labelled and not for training",
        )
    if settings.engine == "vllm":
        return _probe("engine", lambda: _managed(settings))
    return _probe("engine", lambda: asyncio.run(_served(settings.endpoint)))


def _managed(settings: Settings) -> str:
    server = VLLMServer(settings.vllm)
    python = settings.vllm.python or sys.executable
    looked = subprocess.run(
        [python, "-c", "import vllm"], capture_output=True, text=True, timeout=120, check=False
    )
    if looked.returncode:
        raise SetupError(f"{python} cannot import vllm: {looked.stderr.strip().splitlines()[-1]}")
    lease = server.lease()
    runs = (
        f"runs at {lease.root}"
        if lease and lease.alive and lease.state == "ready"
        else "starts with the first call"
    )
    return f"vllm: {settings.vllm.model}, {runs}"


async def _served(endpoint: EndpointSettings) -> str:
    engine = EndpointEngine(endpoint)
    try:
        served = await engine.models()
    finally:
        await engine.close()
    if endpoint.model not in served:
        raise SetupError(
            f"{endpoint.base_url} serves {', '.join(served) or 'nothing'}, not '{endpoint.model}'"
        )
    key = "set" if os.environ.get(endpoint.api_key_env) else "not set"
    return f"{endpoint.base_url} serves '{endpoint.model}' (key in {endpoint.api_key_env}: {key})"


def _hub() -> Finding:
    try:
        name = HfApi(endpoint=constants.ENDPOINT).whoami()["name"]
    except HfHubHTTPError:
        return Finding(
            "hub", None, "reachable; no valid token (needed for gated datasets and for publishing)"
        )
    except Exception as error:  # noqa: BLE001 - whatever the client raises without a network or a token
        return Finding(
            "hub",
            None,
            f"not reachable or no token ({type(error).__name__}); needed for Hub sources alone",
        )
    return Finding("hub", True, f"logged in as {name}")


def _gpu() -> Finding:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("gpu", None, "none seen here; the rehearsal and endpoint engines need none")
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    seen = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    return Finding(
        "gpu", seen.returncode == 0, "; ".join(seen.stdout.splitlines()) or seen.stderr.strip()
    )
