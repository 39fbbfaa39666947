"""Probabilities of a few possible answers, from the log-probabilities of the first token.

A safety classifier such as ShieldGemma thereby says how sure it is, and not only Yes or No.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

_TOP_LOGPROBS = 20
"""The most alternatives that servers report."""

ONE_TOKEN: Mapping[str, Any] = {
    "logprobs": True,
    "top_logprobs": _TOP_LOGPROBS,
    "max_tokens": 1,
    "temperature": 0.0,
}
"""Request fields for an answer of one token with its log-probabilities."""


def label_text(choice: Mapping[str, Any], labels: tuple[str, ...]) -> str | None:
    """Return label → probability as JSON, or None if a choice mentions none of the labels.

    Tokens count for a label whatever their case and white space. Without log-probabilities, the
    first word of the answer has a probability of 1.
    """
    probabilities: dict[str, float] = dict.fromkeys(labels, 0)
    for token, probability in _token_probabilities(choice):
        for label in labels:
            if _is_label(token, label):
                probabilities[label] += probability
    if not any(probabilities.values()):
        return None
    rounded = {
        label: round(probability, 6) for label, probability in probabilities.items()
    }
    return json.dumps(rounded)


def _token_probabilities(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the alternatives to the first token, each with its probability."""
    # Servers leave these fields out, or send null or an empty list.
    log_probabilities = choice.get("logprobs") or {}
    tokens = log_probabilities.get("content") or [{}]
    probabilities = []
    for alternative in tokens[0].get("top_logprobs") or []:
        token = str(alternative["token"])
        probabilities.append((token, math.exp(alternative["logprob"])))
    if probabilities:
        return probabilities
    text = str(choice["message"].get("content") or "")
    words = text.split()
    return [(words[0], 1.0)] if words else []


def _is_label(token: str, label: str) -> bool:
    return token.strip().strip(".,!").casefold() == label.casefold()
