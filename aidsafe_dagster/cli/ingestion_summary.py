"""What an ingestion took in and left out, for the terminal.

Names of files and columns, ids and details of rows are a user's words: they reach the terminal as
text alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aidsafe_dagster.cli.console import print_paragraph, quantity
from aidsafe_dagster.stages.failed_answers import visible

_MOST_FILES = 5
_MOST_CHARS = 300
"""Of one detail. All of it is in the table of dropped rows."""


def print_ingestion(metadata: Mapping[str, Any]) -> None:
    """Print the outcome, from the metadata of the ingestion's output."""
    for indent, line in ingestion_lines(metadata):
        print_paragraph(visible(line), indent)


def ingestion_lines(metadata: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield each line with its indent in columns."""
    yield from _file_lines(_records(metadata, "files"))
    new_batches = _records(metadata, "new_batches")
    prompts = quantity(metadata["new_prompts"].value, "new prompt")
    yield 0, f"{prompts} in {quantity(len(new_batches), 'new batch')}"
    for batch in new_batches:
        yield 2, f"{batch['batch']}: {quantity(batch['count'], 'prompt')}"
    examples = _records(metadata, "dropped_examples")
    for dropped in _records(metadata, "dropped"):
        kind = dropped["source: reason"]
        yield 2, f"dropped {dropped['count']:,}: {kind}"
        for row in examples:
            if kind == f"{row['source']}: {row['reason']}":
                yield 4, f"{row['source_row']}: {row['detail']}"[:_MOST_CHARS]
    for remark in metadata["remarks"].value:
        yield 2, f"note: {remark}"
    restored = metadata["restored"].value
    if restored:
        names = ", ".join(restored)
        yield 2, f"restored from the sealed copy, damaged or gone before: {names}"
    seen_before = metadata["seen_before"].value
    if seen_before:
        verb = "was" if seen_before == 1 else "were"
        rows = quantity(seen_before, "row")
        yield 2, f"{rows} {verb} seen by an earlier ingestion"


def _file_lines(files: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    for file in files[:_MOST_FILES]:
        line = f"{file['file']}: {quantity(int(file['rows']), 'row')}"
        if file["prompts"]:
            line += f", prompts from column '{file['prompts']}'"
        if file["form"]:
            line += f" ({file['form']})"
        yield 0, line
    if len(files) > _MOST_FILES:
        yield 0, f"and {quantity(len(files) - _MOST_FILES, 'further file')}"


def _records(metadata: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [record.data for record in metadata[name].records]
