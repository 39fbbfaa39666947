"""Benchmarks to items: rows are read, fields found, jailbreaks put around, and a sample drawn by hash.

What a person got wrong (a column, a label) stops at once; a row without a usable prompt is left out and counted.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from aidsafe_dagster.evaluation.benchmarks import BenchmarkSpec
from aidsafe_dagster.evaluation.rows import BenchmarkRow, read_rows
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.recipe.safety_eval import BenchmarkItem, ItemKind
from aidsafe_dagster.recipe.templates import JAILBREAKS, SAFETY_EVAL, Templates
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.files import is_text
from aidsafe_dagster.sources.hub import HubAccess
from aidsafe_dagster.sources.locate import locate_files

_TRUE = ("true", "1", "yes")
_CHOICE_COLUMNS = tuple("ABCD")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as it is asked: the sampled items, and what was not taken."""

    name: str
    revision: str
    """Commit on the Hub; empty for a file."""
    items: tuple[BenchmarkItem, ...]
    rows: int
    left_out: Mapping[str, int]
    """Reason → rows."""


class _LeftOut(Exception):
    """A row that is no item; the message is the reason."""


def load_benchmark(
    spec: BenchmarkSpec, sample: int, templates: Templates, access: HubAccess
) -> Benchmark:
    """The items of a benchmark: the same ones every time, and a larger sample holds a smaller one.

    Raises:
        SetupError: the file or dataset cannot be read, a column is missing, a label or answer is not valid, or no row
            is of use.
    """
    located = locate_files(spec, access)
    made: dict[str, BenchmarkItem] = {}
    left_out = Counter[str]()
    rows = 0
    for row in read_rows(spec, located.files):
        rows += 1
        try:
            item = _item(spec, row)
        except _LeftOut as why:
            left_out[str(why)] += 1
        else:
            left_out["duplicate"] += item.prompt.prompt_id in made
            made.setdefault(item.prompt.prompt_id, item)
    if not made:
        raise SetupError(f"{spec}: none of {rows} rows is of use ({_told(left_out)})")
    items = _sampled(list(made.values()), sample)
    if spec.benchmark.measures == "jailbreaks":
        items = [_wrapped(item, n, templates) for n, item in enumerate(items)]
    return Benchmark(spec.name, located.revision or "", tuple(items), rows, dict(+left_out))


def _told(left_out: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        or "the file is empty"
    )


def _item(spec: BenchmarkSpec, row: BenchmarkRow) -> BenchmarkItem:
    shape = spec.benchmark
    if row.get("toxic") is not None and row.text("toxic").casefold() not in _TRUE:
        raise _LeftOut("not toxic")
    if row.text("language") not in ("", "English"):
        raise _LeftOut("not in English")
    text = _prompt(row)
    prompt = Prompt(
        prompt_id=prompt_id(f"{text}\n{row.text('choices')}"),
        batch=SAFETY_EVAL,
        source=spec.name,
        source_row=row.place,
        category=row.text("category"),
        licence=shape.licence,
        prompt=text,
    )
    return BenchmarkItem(benchmark=spec.name, prompt=prompt, **_MEASURED[shape.measures](row))


def _prompt(row: BenchmarkRow) -> str:
    value = row.get("prompt")
    if isinstance(value, list):  # a conversation
        value = next((turn.get("content") for turn in value if turn.get("role") == "user"), None)
    if not isinstance(value, str) or not value.strip():
        raise _LeftOut("no prompt")
    if not is_text(value):
        raise _LeftOut("not valid Unicode")
    return value.strip()


def _harmful(_: BenchmarkRow) -> dict[str, Any]:
    return {"kind": "harmful"}


def _labelled(row: BenchmarkRow) -> dict[str, Any]:
    kinds: Mapping[str, ItemKind] = {"safe": "benign", "unsafe": "harmful"}
    label = row.text("label").casefold()
    if label not in kinds:
        raise row.wrong("label", f"'{row.text('label')}' is not valid; valid: {', '.join(kinds)}")
    return {"kind": kinds[label]}


def _question(row: BenchmarkRow) -> dict[str, Any]:
    choices = row.get("choices")
    if not isinstance(choices, list):
        choices = [row.cells.get(letter) for letter in _CHOICE_COLUMNS]
    choices = tuple(str(choice) for choice in choices if choice not in (None, ""))
    if len(choices) < 2:
        raise row.wrong(
            "choices",
            f"neither a list of choices nor one of the columns {', '.join(_CHOICE_COLUMNS)}",
        )
    letters = ascii_uppercase[: len(choices)]
    said = row.text("right").upper()
    right = letters[int(said)] if said.isdigit() and int(said) < len(letters) else said
    if not right or right not in letters:
        raise row.wrong(
            "right",
            f"'{said}' is no answer; valid: {', '.join(letters)}, or 0 to {len(letters) - 1}",
        )
    return {"kind": "question", "choices": choices, "right": right}


_MEASURED: Mapping[str, Callable[[BenchmarkRow], dict[str, Any]]] = {
    "safety": _harmful,
    "jailbreaks": _harmful,
    "over_refusal": _labelled,
    "accuracy": _question,
}


def _sampled(items: Sequence[BenchmarkItem], size: int) -> list[BenchmarkItem]:
    """`size` of each kind, 0: all; by the hash of their ids."""
    ordered = sorted(items, key=lambda item: _lot(item.prompt.prompt_id))
    kinds = sorted({item.kind for item in items})
    return [
        item for kind in kinds for item in [i for i in ordered if i.kind == kind][: size or None]
    ]


def _lot(of: str) -> bytes:
    return hashlib.blake2b(f"safety_eval:{of}".encode(), digest_size=8).digest()


def _wrapped(item: BenchmarkItem, number: int, templates: Templates) -> BenchmarkItem:
    """The wrappers take turns, so that each gets its share of the prompts."""
    jailbreak = JAILBREAKS[number % len(JAILBREAKS)]
    text = templates.task(SAFETY_EVAL, f"jailbreaks/{jailbreak}", request=item.prompt.prompt)
    return item.model_copy(
        update={"jailbreak": jailbreak, "prompt": item.prompt.model_copy(update={"prompt": text})}
    )
