"""Lines of which only the beginning is read, because they are too long."""

from collections.abc import Callable
from typing import Any, AnyStr, cast


def skip_line(line: AnyStr, read_line: Callable[[], AnyStr]) -> None:
    """Read on to the end of a line of which only the beginning was read."""
    ends = ("\n", "\r") if isinstance(line, str) else (b"\n",)
    while line and not line.endswith(cast("Any", ends)):
        line = read_line()
