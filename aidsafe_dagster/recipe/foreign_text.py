"""Text that is not ours, made fit to be stored or to be shown. What it says stays the same.

Stored rows keep a text as it is as far as a database takes it. Shown, a text must not look like
another one: bidirectional controls reorder what stands around them, on a terminal and in a page.
"""

import re

_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""All that Unicode gives the property Bidi_Control."""


def storable(text: str) -> str:
    """Replace lone surrogates and NUL, which databases and Parquet do not take."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def without_bidi_controls(text: str) -> str:
    """Return a text as it is to be shown; its letters keep their own direction."""
    return _BIDI_CONTROLS.sub("", text)
