"""Drawing lots without a generator's state: the same words give the same lot, in any order and in any process."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def lot(*parts: object) -> float:
    """A number in [0, 1), uniform over the parts; 48 bits, so that it never rounds up to 1."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def pick(options: Sequence[T], *parts: object) -> T:
    """One of the options, which must not be empty."""
    return options[int(lot(*parts) * len(options))]
