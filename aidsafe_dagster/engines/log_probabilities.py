"""What servers tell of a model's probabilities.

Of a few possible answers, from the log-probabilities of the first token: a safety classifier such
as ShieldGemma thereby says how sure it is, and not only Yes or No. And of a whole conversation, as
vLLM tells it: so a held-out answer is scored without a word being generated.
"""

import json
import math
from collections.abc import Iterable, Mapping
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
SCORED: Mapping[str, Any] = {
    # vLLM's own field. Each token of the prompt, with no alternatives to it.
    "prompt_logprobs": 0,
    # Servers generate at least one token, which nobody reads.
    "max_tokens": 1,
    "temperature": 0.0,
}
"""Request fields for the log-probabilities of the messages themselves."""


def label_text(
    choice: Mapping[str, Any], labels: tuple[str, ...], text: str
) -> str | None:
    """Return label → probability as JSON, or None if a choice mentions none of the labels.

    Tokens count for a label whatever their case and white space. Without log-probabilities of a
    label at the first token, the first word of the answer's text has a probability of 1.
    """
    probabilities = _label_probabilities(_token_probabilities(choice), labels)
    if not any(probabilities.values()):
        words = [(word, 1.0) for word in text.split()[:1]]
        probabilities = _label_probabilities(words, labels)
    if not any(probabilities.values()):
        return None
    rounded = {
        label: round(probability, 6) for label, probability in probabilities.items()
    }
    return json.dumps(rounded)


def score_text(reply: Mapping[str, Any]) -> str | None:
    """Return the number of tokens and the log-probability of a whole prompt (nats) as JSON.

    None: the server does not tell. The first token has no probability, as nothing precedes it.
    """
    positions = reply.get("prompt_logprobs")
    if not isinstance(positions, list) or len(positions) < 2:
        return None
    total = 0.0
    try:
        for position in positions[1:]:
            # The token that stands there comes first; others may follow by rank.
            token, *_ = position.values()
            total += float(token["logprob"])
    except (AttributeError, LookupError, TypeError, ValueError):
        return None
    if not math.isfinite(total):
        return None
    return json.dumps({"tokens": len(positions), "log_probability": total})


def _label_probabilities(
    tokens: Iterable[tuple[str, float]], labels: tuple[str, ...]
) -> dict[str, float]:
    probabilities: dict[str, float] = dict.fromkeys(labels, 0)
    for token, probability in tokens:
        for label in labels:
            if _is_label(token, label):
                probabilities[label] += probability
    return probabilities


def _token_probabilities(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the alternatives to the first token, each with its probability."""
    probabilities = []
    # Servers leave these fields out, or send null, an empty list or a form of their own.
    try:
        first = choice["logprobs"]["content"][0]
        for alternative in first["top_logprobs"]:
            logarithm = float(alternative["logprob"])
            if math.isfinite(logarithm):
                share = math.exp(min(0.0, logarithm))
                probabilities.append((str(alternative["token"]), share))
    except (LookupError, TypeError, ValueError):
        return []
    return probabilities


def _is_label(token: str, label: str) -> bool:
    return token.strip().strip(".,!").casefold() == label.casefold()
