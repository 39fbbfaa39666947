"""Random decisions without a generator's state: the same names give the same result anywhere."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=str)


def fraction(*key: object) -> float:
    """Return a number in [0, 1), uniform over the keys."""
    # The separator keeps ("a", "bc") apart from ("ab", "c").
    text = "\0".join(map(str, key))
    # 48 bits are exact as a float; more could round up to 1.
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


@dataclass(frozen=True)
class Dice:
    """Dice for one thing, such as a prompt or a call. Every roll has a name of its own."""

    key: tuple[object, ...]

    def roll(self, *name: object) -> float:
        """Return a number in [0, 1)."""
        return fraction(*self.key, *name)

    def hits(self, rate: float, *name: object) -> bool:
        """Return True for a share `rate` of all keys."""
        return self.roll(*name) < rate

    def pick(self, options: Sequence[T], *name: object) -> T:
        """Return one of the options, which must not be empty."""
        return options[int(self.roll(*name) * len(options))]

    def choose(self, rates: Mapping[K, float], *name: object) -> K | None:
        """Return one of the names with its rate as the probability, None with what is left of 1."""
        # One roll for all options, since at most one of them may come true.
        remaining = self.roll(*name)
        for option, rate in rates.items():
            remaining -= rate
            if remaining < 0:
                return option
        return None
