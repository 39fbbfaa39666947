"""The page of results: a section per benchmark, each with when and where it was measured, so that one can be redone."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import described
from benchmarks.options import Section

_ABOUT = """# Results

Against a simulated server: these figures tell how well its capacity is used and what the client costs, and nothing of
any model or GPU. Made by `python -m benchmarks`; [README.md](README.md) says how, and has the targets.
"""
_SECTION = re.compile(r"^<!-- (\w+) -->\n(.*?)(?=^<!-- \w+ -->\n|\Z)", re.MULTILINE | re.DOTALL)


def put(page: Path, name: str, section: Section, order: Sequence[str]) -> None:
    """Writes a benchmark's section in the place of its earlier one; the others stay."""
    known = dict(_SECTION.findall(page.read_text())) if page.exists() else {}
    known[name] = f"{section.markdown()}\nMeasured {described()}.\n\n"
    sections = (f"<!-- {each} -->\n{known[each]}" for each in order if each in known)
    page.write_text(f"{_ABOUT}\n{''.join(sections)}".rstrip() + "\n")
