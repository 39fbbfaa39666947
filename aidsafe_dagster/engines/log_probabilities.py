"""Questions that are answered by one of a few words: the probability of each, from the first token's log-probabilities.

So a safety classifier such as ShieldGemma says how sure it is, and not only Yes or No.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

_MOST = 20
"""Alternatives that servers tell of at most."""

ONE_TOKEN: Mapping[str, Any] = {
    "logprobs": True,
    "top_logprobs": _MOST,
    "max_tokens": 1,
    "temperature": 0.0,
}


def label_text(choice: Mapping[str, Any], labels: tuple[str, ...]) -> str | None:
    """A chat completion's choice as JSON, label → probability; None when it tells of none of the labels.

    Tokens count for a label whatever their case and white space. A server that gives no log-probabilities is believed
    in what it says.
    """
    told = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
    said = str(choice["message"].get("content") or "")
    shares = [(str(top["token"]), math.exp(top["logprob"])) for top in told] or [
        ((said.split() or [""])[0], 1.0)
    ]
    by_label = {
        label: sum(share for token, share in shares if _is(token, label)) for label in labels
    }
    return (
        json.dumps({label: round(share, 6) for label, share in by_label.items()})
        if any(by_label.values())
        else None
    )


def _is(token: str, label: str) -> bool:
    return token.strip().strip(".,!").casefold() == label.casefold()
