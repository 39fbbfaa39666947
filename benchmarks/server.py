"""The simulated model server of the benchmarks: the tests' rules, at the pace of a large model."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from tests.serving import RULES, ModelServer, a_model_server

_KINDS = ("p429", "p500", "drop", "bad_body", "bad_content", "empty", "truncate")
_TOKEN_S = 0.0165


def faults(share: float) -> dict[str, float]:
    """So many of all calls fail at first, in every way that a server can fail, in equal parts."""
    return dict.fromkeys(_KINDS, share / len(_KINDS))


@contextmanager
def a_simulated_server(
    slots: int, pace: float = 1.0, faults: dict[str, float] | None = None
) -> Iterator[ModelServer]:
    """Serves `slots` calls at a time, each for about 1.3 s at pace 1; at pace 10 it is ten times as fast."""
    with (
        tempfile.TemporaryDirectory() as folder,
        a_model_server(Path(folder), _rules(slots, pace), faults) as server,
    ):
        yield server


def _rules(slots: int, pace: float) -> dict[str, Any]:
    rules = deepcopy(RULES)
    rules["server"] = {
        "capacity": slots,
        "prefill_base_s": 0.03 / pace,
        "prefill_per_token_s": 0.00002 / pace,
        "tpot_s": _TOKEN_S / pace,
    }
    for rule in rules["rules"]:
        if rule["name"] == "deliberator":
            rule["stop"]["max"] = 6
    return rules
