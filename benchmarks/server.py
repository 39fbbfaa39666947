"""The simulated model server: the rules of the tests, at the pace of a large model."""

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
    """Return faults for a share of the calls, in equal parts of every kind. A retry succeeds."""
    return dict.fromkeys(_KINDS, share / len(_KINDS))


@contextmanager
def a_simulated_server(
    slots: int,
    pace: float = 1.0,
    faults: dict[str, float] | None = None,
    length: float = 1.0,
) -> Iterator[ModelServer]:
    """Serve `slots` calls at a time, each for about 1.3 s divided by `pace`.

    `length` multiplies the length of each answer, and so its time.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        a_model_server(Path(folder), _rules(slots, pace, length), faults) as server,
    ):
        yield server


def _rules(slots: int, pace: float, length: float) -> dict[str, Any]:
    rules = deepcopy(RULES)
    rules["server"] = {
        "capacity": slots,
        "prefill_base_s": 0.03 / pace,
        "prefill_per_token_s": 0.00002 / pace,
        "tpot_s": _TOKEN_S / pace,
    }
    for rule in rules["rules"]:
        tokens = rule["tokens"]
        for bound in ("mean", "min", "max"):
            tokens[bound] *= length
        if rule["name"] == "deliberator":
            rule["stop"]["max"] = 6
    return rules
