"""A file of prompts that were made here, `prompts/<name>.jsonl` in the project's folder.

It only ever gets longer, so a row keeps its place in the source.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Message, Prompt, as_text
from aidsafe_dagster.sources.duplicates import prompt_id

FOLDER = "prompts"
Row = Mapping[str, Any]


def prompt_file(project: Path, name: str) -> Path:
    return project / FOLDER / f"{name}.jsonl"


def as_column(prompt: Prompt, text: str) -> str | list[dict[str, str]]:
    """Return what stands in the column `prompt` for a last turn: of a conversation, all turns."""
    if not prompt.earlier:
        return text
    turns = (*prompt.earlier, Message(role="user", content=text))
    return [turn.model_dump() for turn in turns]


def require_prompt_file(path: Path) -> None:
    """Make sure that rows can be added to a file, before any is asked for.

    Raises:
        SetupError: it cannot be read, or holds something else.
    """
    _read(path)


def append_rows(path: Path, rows: Iterable[Row]) -> int:
    """Add rows to a file of prompts, each text once.

    Returns:
        How many were added: none where a command that was killed had added them.

    Raises:
        SetupError: the file cannot be read or written, or holds something else.
    """
    lines, present = _read(path)
    added = 0
    for row in rows:
        key = _key(row["prompt"])
        if key not in present:
            present.add(key)
            lines.append(json.dumps(row, ensure_ascii=False))
            added += 1
    if added:
        with atomic_write(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    return added


def _read(path: Path) -> tuple[list[str], set[str]]:
    if not path.exists():
        return [], set()
    try:
        # Not `splitlines`: a text may hold signs that end a line elsewhere.
        lines = path.read_text("utf-8").rstrip("\n").split("\n")
        rows = [json.loads(line) for line in lines]
        # A file of a person's own has prompts as well, and is not ours to add to.
        present = {_key(row["prompt"]) for row in rows if row["derivation"]}
    except OSError as error:
        raise SetupError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f"{path}: no file of prompts that were made here, so nothing is added to it; name "
            "another with --name"
        ) from error
    return lines, present


def _key(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt_id(prompt)
    turns = tuple(Message.model_validate(turn) for turn in prompt)
    return prompt_id(as_text(turns))
