"""The launchpad tunes, files repoint.

Whoever can reach the web UI can start runs with a configuration of his own. So the configuration
of a run may change what bears on the recipe, and nothing that says which program runs, where
requests and keys go, or which files are read and written. Such settings come from `aidsafe.toml`
and the environment alone, unless `[launchpad]` there allows them by name:

[launchpad]
allow = ["vllm.model", "roles.refiner.base_url"]
folders = ["inbox"]                    # files to ingest may be named below these

What a command in the user's own shell passes to the runs that it executes itself is not restricted.
"""

import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record

_TUNABLE = (
    "ablation.agents",
    "ablation.sample",
    "answers.*",
    "checks.*",
    "counterfactuals.share",
    "counterfactuals.writer",
    "decontamination.*_threshold",
    "decontamination.ngram_words",
    "deliberation.*",
    "driver.*",
    "endpoint.context_length",
    "endpoint.model",
    "endpoint.reasoning",
    "endpoint.reasoning_budget",
    "endpoint.requests_per_minute",
    "endpoint.revision",
    "endpoint.sampling.*",
    "endpoint.slots",
    "endpoint.timeout_s",
    "endpoint.tokens_per_minute",
    "engine",
    "evaluation.sample",
    "evaluation.temperature",
    "grading.*",
    "ingest.*",
    "keep_recipe",
    "pairs.*",
    "rehearsal.*",
    "report.*",
    "roles.*.model",
    "roles.*.reasoning",
    "roles.*.reasoning_budget",
    "roles.*.revision",
    "roles.*.sampling.*",
    "roles.*.server",
    "sampling.*",
    "score_gate.*",
    "seed",
    "selection.*",
    "splits.*",
    "training.allow_simulated",
    "training.dpo.*",
    "training.gradient_checkpointing",
    "training.lora.*",
    "training.max_length",
    "training.precision",
    "training.quantize",
    "training.seed",
    "training.sft.*",
    "use_policies",
    "vllm.data_parallel_size",
    "vllm.dtype",
    "vllm.gpu_memory_utilization",
    "vllm.max_model_len",
    "vllm.max_num_seqs",
    "vllm.revision",
    "vllm.tensor_parallel_size",
)
"""Dotted keys of the settings that a run's configuration may change; '*' is any text."""
_REASONS = (
    (r"(python|environment|extra_args|port|state)", "it decides which program runs"),
    (r"(base_url|.*_url|endpoint|repo)", "it says where data and keys go"),
    (r".*_env", "it names a secret"),
    (
        r"(extra_body|omit|rename|reasoning_(on|off|budget_field))",
        "it is sent as it is",
    ),
)
_OTHER_REASON = "it names what is read, written or loaded"
_is_from_shell: ContextVar[bool] = ContextVar("is_from_shell", default=False)


class LaunchpadSettings(Record):
    allow: tuple[str, ...] = ()
    """Further settings that a run's configuration may change, as dotted keys."""
    folders: tuple[Path, ...] = ()
    """Folders below which the launchpad may name files to ingest."""

    def within(self, folder: Path) -> "LaunchpadSettings":
        """Return a copy whose folders are resolved against this one."""
        folders = tuple(folder / path.expanduser() for path in self.folders)
        return self.model_copy(update={"folders": folders})


@contextmanager
def configured_in_shell() -> Iterator[None]:
    """Mark the runs that this process executes itself as configured by its own user."""
    token = _is_from_shell.set(True)
    try:
        yield
    finally:
        _is_from_shell.reset(token)


def refuse_repointing(
    overrides: Mapping[str, Any], launchpad: LaunchpadSettings
) -> None:
    """Refuse what a run's configuration must not change.

    Args:
        overrides: nested as in `aidsafe.toml`.
        launchpad: of the settings without these overrides.

    Raises:
        SetupError: a key may only be set in `aidsafe.toml`; names it, and says why.
    """
    if _is_from_shell.get():
        return
    for key in _keys(overrides):
        patterns = (*_TUNABLE, *launchpad.allow)
        if not any(fnmatchcase(key, pattern) for pattern in patterns):
            raise SetupError(
                f"launchpad: '{key}' cannot be set for one run, since {_reason(key)}. "
                "Set it in aidsafe.toml, or allow it there: "
                f'[launchpad] allow = ["{key}"]'
            )


def refuse_file(path: Path, launchpad: LaunchpadSettings) -> None:
    """Refuse a file to ingest that is not below an allowed folder.

    Raises:
        SetupError: it is elsewhere, a link out of the folder, or no regular file.
    """
    if _is_from_shell.get():
        return
    # With all links followed, so that none leads out of the folders.
    real = path.resolve()
    folders = [folder.resolve() for folder in launchpad.folders]
    if not any(real.is_relative_to(folder) for folder in folders):
        listing = ", ".join(map(str, folders)) or "(none)"
        raise SetupError(
            f"launchpad: {path} is not below a folder that aidsafe.toml allows. "
            f"Allowed: {listing}. Ingest it with `aidsafe ingest`, "
            'or add its folder: [launchpad] folders = ["…"]'
        )
    if real.exists() and not stat.S_ISREG(real.stat().st_mode):
        raise SetupError(f"launchpad: {path} is no regular file")


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        # An empty table changes nothing.
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _reason(key: str) -> str:
    name = key.rpartition(".")[2]
    for pattern, reason in _REASONS:
        if re.fullmatch(pattern, name):
            return reason
    return _OTHER_REASON
