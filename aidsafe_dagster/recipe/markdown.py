"""Escape text of users and models for Markdown, so that it shows as it is.

Escaped text can be no heading, no link, no markup and no image to load.
"""

import re

from aidsafe_dagster.recipe.foreign_text import without_bidi_controls


def escape_inline(text: str) -> str:
    """Return the text as one line, fit for a paragraph, a list or a table cell."""
    return escape_line(" ".join(text.split()))


def block_quote(text: str) -> str:
    """Return the text as a block quotation."""
    lines = [f"> {escape_line(line)}" for line in text.splitlines()]
    # Without a line, the quotation would vanish, and with it the sign that the text is empty.
    if not lines:
        return "> "
    return "\n".join(lines)


def escape_line(line: str) -> str:
    """Return the line in a form that Markdown, HTML and a terminal show as it is.

    Indentation is kept as no-break spaces, which Markdown gives no meaning.
    """
    line = without_bidi_controls(line)
    # Control characters could move the cursor or change the colours of a terminal.
    line = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", line)
    line = re.sub(r"([\\`*_\[\]<>#|!~&])", r"\\\1", line)
    # Dashes and digits are common in running text, and mean something at the start of a line alone.
    line = re.sub(r"^(\s*)([-+=]|\d+(?=[.)]))", _escape_marker, line)
    return re.sub(r"^\s+", lambda m: "\u00a0" * len(m[0].expandtabs(4)), line)


def _escape_marker(marker: re.Match[str]) -> str:
    """Escape a marker that would open a list or underline a heading."""
    indent, sign = marker.groups()
    # A backslash does not escape a digit, so a zero-width space parts it from the dot that follows.
    if sign.isdigit():
        return f"{indent}{sign}\u200b"
    return f"{indent}\\{sign}"
