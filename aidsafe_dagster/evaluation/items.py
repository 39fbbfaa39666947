"""Turn the rows of benchmarks into items, sample them by hash, and wrap jailbreaks around them.

A mistake in the settings (a column, a label) raises at once. A row without a usable prompt is left
out and counted.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from aidsafe_dagster.evaluation.benchmarks import BenchmarkSpec
from aidsafe_dagster.evaluation.rows import CHOICE_COLUMNS, BenchmarkRow, read_rows
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.recipe.safety_eval import BenchmarkItem, ItemKind
from aidsafe_dagster.recipe.templates import JAILBREAKS, SAFETY_EVAL, Templates
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.sources.locate import locate_files
from aidsafe_dagster.sources.rows import is_text

_TRUE_WORDS = ("true", "1", "yes")
_LABEL_KINDS: Mapping[str, ItemKind] = {"safe": "benign", "unsafe": "harmful"}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as it is asked: the sampled items, and the rows that were left out."""

    name: str
    revision: str
    """Commit on the Hub; empty for a file."""
    items: tuple[BenchmarkItem, ...]
    rows: int
    """Number of rows read."""
    left_out: Mapping[str, int]
    """Reason → number of rows."""


class _LeftOut(Exception):
    """Raised for a row that cannot be used. The message is the reason."""


def load_benchmark(
    spec: BenchmarkSpec, sample: int, templates: Templates, access: HubAccess
) -> Benchmark:
    """Load the items of a benchmark.

    The sample is the same every time, and a larger sample contains a smaller one.

    Raises:
        SetupError: the file or dataset cannot be read, a column is missing, a label or answer is
            not valid, or no row can be used.
    """
    located = locate_files(spec, access)
    items: dict[str, BenchmarkItem] = {}
    left_out = Counter[str]()
    rows = 0
    for row in read_rows(spec, located.files):
        rows += 1
        try:
            item = _to_item(spec, row)
        except _LeftOut as reason:
            left_out[str(reason)] += 1
            continue
        if item.prompt.prompt_id in items:
            left_out["duplicate"] += 1
        else:
            items[item.prompt.prompt_id] = item
    if not items:
        reasons = _describe_reasons(left_out)
        raise SetupError(f"{spec}: no row can be used ({reasons})")
    sampled = _draw_sample(list(items.values()), sample)
    if spec.benchmark.measures == "jailbreaks":
        # After the sample is drawn, so that each jailbreak gets an equal share of it.
        for n, item in enumerate(sampled):
            sampled[n] = _wrap_jailbreak(item, n, templates)
    return Benchmark(
        name=spec.name,
        revision=located.revision or "",
        items=tuple(sampled),
        rows=rows,
        left_out=dict(left_out),
    )


def _describe_reasons(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return "the file is empty"
    counts = []
    for reason, count in left_out.items():
        counts.append(f"{count} {reason}")
    return ", ".join(counts)


def _to_item(spec: BenchmarkSpec, row: BenchmarkRow) -> BenchmarkItem:
    """Return the item of a row.

    Raises:
        _LeftOut: the row has no usable prompt.
        SetupError: a label or an answer is not valid.
    """
    preset = spec.benchmark
    # WildChat has harmless conversations too. Other benchmarks have no such mark.
    is_marked = row.get("toxic") is not None
    if is_marked and row.text("toxic").casefold() not in _TRUE_WORDS:
        raise _LeftOut("not toxic")
    if row.text("language") not in ("", "English"):
        raise _LeftOut("not in English")
    text = _prompt_text(row)
    prompt = Prompt(
        # Questions may share their text and differ in their choices.
        prompt_id=prompt_id(f"{text}\n{row.text('choices')}"),
        batch=SAFETY_EVAL,
        source=spec.name,
        source_row=row.place,
        category=row.text("category"),
        licence=preset.licence,
        prompt=text,
    )
    fields = _ITEM_FIELDS[preset.measures](row)
    return BenchmarkItem(benchmark=spec.name, prompt=prompt, **fields)


def _prompt_text(row: BenchmarkRow) -> str:
    value = row.get("prompt")
    if isinstance(value, list):
        value = _first_user_turn(value)
    if not isinstance(value, str) or not value.strip():
        raise _LeftOut("no prompt")
    if not is_text(value):
        raise _LeftOut("not valid Unicode")
    return value.strip()


def _first_user_turn(conversation: Sequence[Mapping[str, Any]]) -> Any:
    for turn in conversation:
        if turn.get("role") == "user":
            return turn.get("content")
    return None


def _harmful_fields(_: BenchmarkRow) -> dict[str, Any]:
    return {"kind": "harmful"}


def _labelled_fields(row: BenchmarkRow) -> dict[str, Any]:
    """Read whether a refusal is due from the label."""
    label = row.text("label").casefold()
    if label not in _LABEL_KINDS:
        valid = ", ".join(_LABEL_KINDS)
        raise row.error("label", f"'{row.text('label')}' is not valid; valid: {valid}")
    return {"kind": _LABEL_KINDS[label]}


def _question_fields(row: BenchmarkRow) -> dict[str, Any]:
    """Read the choices and the letter of the right one, which may be given as an index."""
    choices = _read_choices(row)
    letters = ascii_uppercase[: len(choices)]
    answer = row.text("right").upper()
    right = answer
    # MMLU gives the right answer as an index from 0.
    if answer.isdigit() and int(answer) < len(letters):
        right = letters[int(answer)]
    if not right or right not in letters:
        valid = f"{', '.join(letters)}, or 0 to {len(letters) - 1}"
        raise row.error("right", f"'{answer}' is not an answer; valid: {valid}")
    return {"kind": "question", "choices": choices, "right": right}


def _read_choices(row: BenchmarkRow) -> tuple[str, ...]:
    values = row.get("choices")
    if not isinstance(values, list):
        values = [row.cells.get(letter) for letter in CHOICE_COLUMNS]
    choices = []
    for value in values:
        if value not in (None, ""):
            choices.append(str(value))
    if len(choices) < 2:
        columns = ", ".join(CHOICE_COLUMNS)
        raise row.error(
            "choices", f"neither a list of choices nor one of the columns {columns}"
        )
    return tuple(choices)


_ITEM_FIELDS: Mapping[str, Callable[[BenchmarkRow], dict[str, Any]]] = {
    "safety": _harmful_fields,
    "jailbreaks": _harmful_fields,
    "over_refusal": _labelled_fields,
    "accuracy": _question_fields,
}
"""What a benchmark measures → the function that reads the fields of its items."""


def _draw_sample(items: Sequence[BenchmarkItem], size: int) -> list[BenchmarkItem]:
    """Draw `size` items of each kind by the hash of their ids; 0: all."""
    by_kind: dict[str, list[BenchmarkItem]] = defaultdict(list)

    def rank(item: BenchmarkItem) -> int:
        return hash_rank("safety_eval", item.prompt.prompt_id)

    # By hash and not at random: every model is asked the same prompts, in every run.
    for item in sorted(items, key=rank):
        by_kind[item.kind].append(item)
    sample = []
    for _, items_of_kind in sorted(by_kind.items()):
        if size:
            sample += items_of_kind[:size]
        else:
            sample += items_of_kind
    return sample


def _wrap_jailbreak(
    item: BenchmarkItem, number: int, templates: Templates
) -> BenchmarkItem:
    """Wrap a jailbreak around an item. The jailbreaks take turns, so that each gets its share."""
    jailbreak = JAILBREAKS[number % len(JAILBREAKS)]
    text = templates.task(
        SAFETY_EVAL,
        f"jailbreaks/{jailbreak}",
        request=item.prompt.prompt,
    )
    prompt = item.prompt.model_copy(update={"prompt": text})
    return item.model_copy(update={"jailbreak": jailbreak, "prompt": prompt})
