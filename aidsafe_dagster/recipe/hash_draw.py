"""Deterministic draws by hash: the same parts give the same draw, in any process and in any order.

A draw keeps no state, unlike a random number generator. New rows in a dataset therefore never
change the draws of the rows that are already there, and parallel runs need no coordination.

The first part names the purpose of the draw ("split", "compared", ...), so that draws for different
purposes are independent of each other.
"""

import hashlib


def hash_rank(*parts: object, separator: str = ":", digest_size: int = 8) -> int:
    """Return a uniformly distributed integer of `digest_size` bytes, to sort or shuffle by."""
    text = separator.join(str(part) for part in parts)
    # Python's own `hash` of a text differs from process to process.
    digest = hashlib.blake2b(text.encode(), digest_size=digest_size).digest()
    return int.from_bytes(digest)


def hash_fraction(*parts: object, separator: str = ":", digest_size: int = 8) -> float:
    """Return a uniformly distributed number in [0, 1), to compare with a share."""
    rank = hash_rank(*parts, separator=separator, digest_size=digest_size)
    number_of_ranks = 1 << 8 * digest_size
    return rank / number_of_ranks
