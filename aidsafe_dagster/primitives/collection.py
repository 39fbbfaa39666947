"""Garbage collection in a process that loads large libraries and then makes millions of objects.

Python looks through all objects whenever a few hundred were made since it last did. The libraries
alone are some million objects that never become garbage, and a run's records go by their reference
counts. So it is enough to look rarely. (Without any collection the imports take a fifth less CPU.)
"""

import ctypes
import gc
import resource
from contextlib import suppress

_OBJECTS = 50_000
"""Objects between two collections; Python's own default is 700."""
_GROWTH = 1.05
"""Of memory, from which on it is looked for objects to give back."""


def collect_rarely() -> None:
    """Let the collector of this process run less often."""
    gc.set_threshold(_OBJECTS, 10, 10)


class _Peak:
    """The most memory that this process had, in the system's unit, when it last gave some back."""

    memory = 0


def give_back_memory() -> None:
    """Return freed memory to the system, if this process has needed more since it last did so.

    Otherwise the memory of a batch stays with the process in fragments, and each batch adds to it.
    A look through all objects takes a third of a second, so what fits where the last batch was is
    left there.
    """
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if memory <= _GROWTH * _Peak.memory:
        return
    _Peak.memory = memory
    gc.collect()
    # Only glibc has this function, and macOS for one is without.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
