"""Garbage collection in a process that loads large libraries and then makes millions of objects.

Python looks through all objects whenever a few hundred were made since it last did. The libraries
alone are some million objects that never become garbage, and a run's records go by their reference
counts. So it is enough to look rarely. (Without any collection the imports take a fifth less CPU.)
"""

import gc

_OBJECTS = 50_000
"""Objects between two collections; Python's own default is 700."""


def collect_rarely() -> None:
    """Let the collector of this process run less often."""
    gc.set_threshold(_OBJECTS, 10, 10)
