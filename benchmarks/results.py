"""The page of results: a section per benchmark, each with its own date and machine."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.options import Section

_ABOUT = """# Results

Against a simulated server: these figures show how well its capacity is used and what the client
costs. They say nothing about a model or a GPU. They are made by `python -m benchmarks`; see
[README.md](README.md) for the method and the targets.
"""
_SECTION = re.compile(
    r"^<!-- (\w+) -->\n(.*?)(?=^<!-- \w+ -->\n|\Z)", re.MULTILINE | re.DOTALL
)


def replace_section(
    page: Path, name: str, section: Section, order: Sequence[str]
) -> None:
    """Replace a benchmark's section on the page and keep the others."""
    sections = dict(_SECTION.findall(page.read_text())) if page.exists() else {}
    sections[name] = f"{section.markdown()}\nMeasured {describe_machine()}.\n\n"
    text = f"{_ABOUT}\n"
    for each in order:
        if each in sections:
            text += f"<!-- {each} -->\n{sections[each]}"
    page.write_text(text.rstrip() + "\n")
