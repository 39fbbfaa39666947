"""`aidsafe doctor`: the settings in force, where each came from, and a probe of what they name."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import (
    console,
    is_width_known,
    print_paragraph,
    quantity,
)
from aidsafe_dagster.cli.doctor_servers import (
    check_use,
    counting_problem,
    describe,
)
from aidsafe_dagster.cli.local_runs import open_instance
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.server_check import Verdict
from aidsafe_dagster.engines.vllm.server import VLLMServer
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.secret_mask import mask_setting, mask_url_secrets
from aidsafe_dagster.recipe.stages import load_templates
from aidsafe_dagster.resources.context_preflight import (
    context_findings,
    require_context,
)
from aidsafe_dagster.resources.continuation import require_continuation
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
)
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.runs.instance_schema import describe_schema
from aidsafe_dagster.settings.load import Loaded, default_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.servers_in_use import servers_in_use
from aidsafe_dagster.settings.snapshot import take_snapshot

DEFAULT = "default"
_NOTHING = object()
_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}


@dataclass(frozen=True)
class Finding:
    """What a probe found out about one thing that the settings name."""

    what: str
    ok: bool | None
    """None: not needed with these settings, or cannot be known from here."""
    detail: str


def values_in_force(loaded: Loaded) -> Iterator[tuple[str, str, str]]:
    """Yield every setting as (dotted key, value, where it came from).

    Of a list of tables, such as the sources, each has only what was set.
    """
    folder = loaded.file.parent
    defaults = dict(_leaves(default_settings(folder).model_dump(mode="json")))
    dumped = loaded.settings.model_dump(mode="json", exclude_unset=True)
    own_values = dict(_leaves(dumped))
    for key, value in _leaves(loaded.settings.model_dump(mode="json")):
        origin = loaded.origins.get(key) or _origin_above(key, loaded)
        # A table without keys, as in a new project's file, changes nothing.
        is_own = key in loaded.origins and value != {}
        if not is_own and defaults.get(key, _NOTHING) == value:
            origin = DEFAULT
        shown = value
        if isinstance(value, list) and origin != DEFAULT:
            shown = own_values.get(key, value)
        yield key, mask_setting(key, _shown(shown)), origin


def examine(settings: Settings) -> Iterator[Finding]:
    """Probe everything that the settings name."""
    # In the order in which a run would miss them.
    yield _probe("policies", lambda: _load_policies(settings))
    if settings.counterfactuals.policies is not None:
        yield _probe("counterfactuals", lambda: _compare_policies(settings))
    yield _probe("templates", lambda: str(load_templates(settings.prompts).folder))
    yield _probe("tokens", lambda: _count_tokens(settings))
    yield _probe("journal", lambda: _open_journal(settings))
    yield _probe("lake", lambda: _write_to_lake(settings))
    yield _examine_instance()
    yield from _examine_engine(settings)
    yield from _examine_servers(settings)
    if settings.engine != "rehearsal":
        yield _examine_context(settings)
    if settings.pairs.belief_position == "reasoning":
        yield _probe("beliefs", lambda: _look_at_continuation(settings))
    yield _examine_hub()
    yield _examine_gpu()


def print_settings(loaded: Loaded, *, with_defaults: bool) -> None:
    """Print the settings that are no defaults, or all of them, by where they came from."""
    by_origin: dict[str, list[str]] = {}
    for key, value, origin in values_in_force(loaded):
        by_origin.setdefault(origin, []).append(f"{key} = {value}")
    defaults = by_origin.pop(DEFAULT, [])
    if not by_origin:
        console.print("Settings in force: the defaults")
    for origin, lines in by_origin.items():
        # The whole path is told below.
        place = loaded.file.name if origin == str(loaded.file) else origin
        _print_lines(f"Settings in force, from {place}:", lines)
    if with_defaults:
        _print_lines("Settings in force, by default:", defaults)
    print_paragraph(f"Project: {Path.cwd()}")
    is_there = "" if loaded.file.exists() else " (there is none)"
    print_paragraph(f"Settings file: {loaded.file}{is_there}")
    if not with_defaults:
        print_paragraph(f"--all shows the {len(defaults)} settings at their defaults.")


def print_finding(finding: Finding) -> None:
    """Print what a probe found out, on a terminal with a hanging indent."""
    mark = Text.from_markup(_MARKS[finding.ok])
    text = Text.assemble((finding.what, "bold"), " ", finding.detail, overflow="fold")
    if not is_width_known():
        console.print(Text.assemble(mark, " ", text), soft_wrap=True)
        return
    line = Table.grid(padding=(0, 1))
    line.add_row(mark, text)
    console.print(line)


def _print_lines(title: str, lines: Iterable[str]) -> None:
    console.print(title, style="bold", highlight=False)
    for line in lines:
        print_paragraph(line, indent=2)


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else name)
        return
    yield key, node


def _origin_above(key: str, loaded: Loaded) -> str:
    """Return where a table that a setting is in came from."""
    for set_key, origin in loaded.origins.items():
        if key.startswith(f"{set_key}."):
            return origin
    return DEFAULT


def _shown(value: Any) -> str:
    """Return a value, its tables without the keys that are not set."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        pairs = []
        for name, item in value.items():
            shown = _shown(item)
            if shown not in ("None", "{}"):
                pairs.append(f"{name}: {shown}")
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, bool):
        # As the settings file has it.
        return str(value).lower()
    return '""' if value == "" else str(value)


def _probe(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except SetupError as error:
        return Finding(what, False, mask_url_secrets(str(error)))
    # Whatever is wrong is a finding, and the other probes must still run.
    except Exception as error:  # noqa: BLE001
        problem = f"{type(error).__name__}: {error}"
        return Finding(what, False, mask_url_secrets(problem))


def _load_policies(settings: Settings) -> str:
    return _describe_policies(settings.load_policies())


def _compare_policies(settings: Settings) -> str:
    """Describe the second set of policies.

    Raises:
        SetupError: it cannot be read, or says what the first one says.
    """
    second = settings.load_second_policies()
    assert second is not None
    if second.version == settings.load_policies().version:
        raise SetupError(
            "counterfactuals.policies says what `policies` says, so no prompt has two right "
            "answers; change a rule of it"
        )
    return _describe_policies(second)


def _describe_policies(policies: Policies) -> str:
    count = len(policies.policies)
    noun = "policy" if count == 1 else "policies"
    rules = quantity(len(policies.rule_ids), "rule")
    return f"{count} {noun}, {rules}, version {policies.version}"


def _count_tokens(settings: Settings) -> str:
    counter = token_counter(settings)
    # A server's counter is made without asking the server.
    counter("Do you count?")
    return counter.name


def _open_journal(settings: Settings) -> str:
    journal = Journal(settings.journal)
    journal.close()
    return repr(journal.url)


def _write_to_lake(settings: Settings) -> str:
    lake = Lake(settings.lake)
    lake.root.mkdir(parents=True, exist_ok=True)
    # Only a write shows that a lake can be written: permissions do not tell for an object store.
    trial = lake.root / f".doctor-{uuid4().hex}"
    trial.write_bytes(b"")
    trial.unlink()
    detail = f"{lake.root} can be written"
    # An object store has no limit that could be asked for.
    if lake.local:
        usage = shutil.disk_usage(str(lake.root))
        gibibytes = usage.free / 2**30
        detail += f", {gibibytes:.0f} GiB free"
    return detail


def _examine_instance() -> Finding:
    """Look at the Dagster instance, which another release of Dagster may have made."""
    try:
        with open_instance() as instance:
            is_current, detail = describe_schema(instance)
    except SetupError as error:
        return Finding("dagster", None, mask_url_secrets(str(error)))
    return Finding("dagster", is_current, detail)


def _examine_engine(settings: Settings) -> Iterator[Finding]:
    """Look at an engine that is no server elsewhere."""
    if settings.engine == "rehearsal":
        detail = (
            "rehearsal: simulated answers, no model; "
            "its rows are labelled and not for training"
        )
        yield Finding("engine", True, detail)
    if settings.engine == "vllm":
        yield _probe("engine", lambda: _look_at_vllm(settings))


def _look_at_vllm(settings: Settings) -> str:
    server = VLLMServer(settings.vllm)
    python = settings.vllm.python or sys.executable
    # vLLM may be in another environment, whose interpreter the settings name. Its first import
    # compiles thousands of files, hence the long timeout.
    trial = subprocess.run(  # noqa: S603
        [python, "-c", "import vllm"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if trial.returncode:
        last_line = trial.stderr.strip().splitlines()[-1]
        raise SetupError(f"{python} cannot import vllm: {last_line}")
    lease = server.lease()
    state = "starts with the first call"
    if lease and lease.state == "ready" and server.is_running():
        state = f"runs at {lease.root}"
    return f"vllm: {settings.vllm.model}, {state}"


def _examine_servers(settings: Settings) -> Iterator[Finding]:
    """Ask each server that a role uses for its models."""
    for use in servers_in_use(settings):
        check = check_use(use)
        is_usable = check.verdict in (Verdict.SERVES, Verdict.NO_LIST)
        detail = mask_url_secrets(describe(use, check))
        yield Finding(use.title, is_usable, detail)
        if use.settings.tokenize and is_usable:
            problem = counting_problem(use.settings)
            what = f"tokenize {use.name}"
            yield Finding(what, not problem, problem or "the server counts tokens")


def _examine_context(settings: Settings) -> Finding:
    """Compare the longest requests of the recipe with what their servers hold."""
    try:
        engine = make_engine(settings)
        dialogue_context = make_dialogue_context(take_snapshot(settings), engine)
        findings = context_findings(settings, dialogue_context, engine)
        warnings = require_context(findings, settings, dialogue_context)
    except SetupError as error:
        return Finding("context", False, mask_url_secrets(str(error)))
    if warnings:
        return Finding("context", None, "\n  ".join(warnings))
    longest = max(findings, key=lambda finding: finding.request.tokens)
    return Finding("context", True, longest.describe(longest.request))


def _look_at_continuation(settings: Settings) -> str:
    return require_continuation(settings, make_engine(settings))


def _examine_hub() -> Finding:
    try:
        name = HfApi(endpoint=constants.ENDPOINT).whoami()["name"]
    # The Hub answered, so the network is there. Most sources need no token.
    except HfHubHTTPError:
        detail = (
            "reachable; no valid token (needed for gated datasets and for publishing)"
        )
        return Finding("hub", None, detail)
    # Without a network the client raises errors of many kinds.
    except Exception as error:  # noqa: BLE001
        detail = f"not reachable or no token ({type(error).__name__}); needed for Hub sources alone"
        return Finding("hub", None, detail)
    return Finding("hub", True, f"logged in as {name}")


def _examine_gpu() -> Finding:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding(
            "gpu", None, "none found; the rehearsal and endpoint engines need none"
        )
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(  # noqa: S603
        query, capture_output=True, text=True, timeout=20, check=False
    )
    gpus = "; ".join(answer.stdout.splitlines())
    return Finding("gpu", answer.returncode == 0, gpus or answer.stderr.strip())
