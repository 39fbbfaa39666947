"""The batches of a lake in a table: rows, failed rows, gates, and what is no longer up to date."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from aidsafe_dagster.cli.recorded_gates import GateReader
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.stages import STAGES, all_upstream, with_descendants
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.known_lake import KnownLake
from aidsafe_dagster.stages.one_recipe import StageComparison, compare_stages

OPEN, CLOSED, STALE, HELD, MISSING = "●", "○", "≠", "⊘", "–"
_MEANINGS = {
    STALE: "made under another recipe, or on such rows",
    HELD: "behind a closed gate",
}
_INDENT = 2
# So that the stages fit beside each other on a terminal of 80 columns.
_SYLLABLES = (
    ("deliberated_", "deliber\nated_"),
    ("preference_", "prefer\nence_"),
    ("refined_", "refi\nned_"),
    ("counterfactuals", "counter\nfactuals"),
)


@dataclass
class BatchTable:
    """A line for each batch, with a cell for each stage.

    A batch whose key does not fit beside its cells has the key on a line of its own, because a key
    that is broken or cut off cannot be copied.
    """

    cells: dict[str, list[Text]] = field(default_factory=dict)
    """By batch, one for each of the stages."""
    stages: Sequence[str] = field(default_factory=lambda: tuple(STAGES))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Yield the lines of the table, as wide as the terminal allows."""
        heads = [_head(stage) for stage in self.stages]
        widths = []
        for column, head in enumerate(heads):
            lengths = [cells[column].cell_len for cells in self.cells.values()]
            widths.append(max([*map(len, head), *lengths]) + 1)
        key_width = max([5, *map(len, self.cells)]) + 1
        is_beside = key_width + sum(widths) <= options.max_width
        margin = key_width if is_beside else _INDENT
        yield Text(
            f"Batches: rows, ✗ failed rows; {OPEN} gate open, {CLOSED} closed", "italic"
        )
        for head_line in _head_lines(heads, widths, margin):
            yield Text(head_line.rstrip(), "bold")
        for batch, cells in self.cells.items():
            line = Text()
            if is_beside:
                line.append(batch.ljust(margin))
            else:
                yield Text(batch, overflow="fold")
                line.append(" " * margin)
            for cell, width in zip(cells, widths, strict=True):
                line.append_text(cell)
                line.append(" " * (width - cell.cell_len))
            line.rstrip()
            if line.cell_len <= options.max_width:
                # A thousand lines take a while where each is looked through for a break.
                yield from line.render(console, "\n")
            else:
                yield line
        for sign, meaning in _MEANINGS.items():
            if self._has(sign):
                yield Text(f"{sign} {meaning}", "italic")
        yield ""

    def _has(self, mark: str) -> bool:
        rows = self.cells.values()
        return any(mark in cell.plain for cells in rows for cell in cells)


def batch_table(
    read_gate: GateReader, lake: Lake, snapshot: SettingsSnapshot | None = None
) -> BatchTable:
    """Return a table with a line per batch and a column per stage.

    Args:
        read_gate: knows the gates.
        lake: holds the batches.
        snapshot: the recipe in force. Without it, nothing is marked as of another one.
    """
    stages = [name for name in STAGES if _is_shown(lake, name, snapshot)]
    table = BatchTable(stages=stages)
    lake = KnownLake.of(lake)
    behind_gates = {stage: all_upstream(stage) for stage in stages}
    for batch in lake.batches(INGESTED):
        comparisons = compare_batch(lake, batch, snapshot)
        stale = with_descendants({one.stage for one in comparisons if one.changes})
        cells = []
        for stage, upstreams in behind_gates.items():
            cell = _cell(
                read_gate,
                lake,
                stage,
                batch,
                is_stale=stage in stale,
                is_held=closed_before(read_gate, lake, upstreams, batch),
            )
            cells.append(cell)
        table.cells[batch] = cells
    return table


def _is_shown(lake: Lake, stage: str, snapshot: SettingsSnapshot | None) -> bool:
    """Tell whether a stage has a column: an optional one where it is on, or was once made."""
    definition = STAGES[stage]
    is_on = snapshot is not None and definition.is_on(snapshot.settings)
    return not definition.is_optional or is_on or bool(lake.batches(stage))


def compare_batch(
    lake: Lake, batch: str, snapshot: SettingsSnapshot | None
) -> Sequence[StageComparison]:
    """Compare the finished stages of a batch with the recipe in force, as far as can be told."""
    if snapshot is None:
        return ()

    def compare() -> Sequence[StageComparison]:
        try:
            return compare_stages(lake, batch, snapshot)
        except SetupError:
            # Policies or templates that cannot be read, and damaged rows, are told elsewhere.
            return ()

    if isinstance(lake, KnownLake):
        return lake.remember("comparison", batch, snapshot, compare)
    return compare()


def closed_before(
    read_gate: GateReader, lake: Lake, upstreams: Sequence[str], batch: str
) -> bool:
    """Tell whether a gate before a stage of a batch is closed by rows that are there."""
    for upstream in upstreams:
        if lake.has(upstream, batch) and not read_gate(upstream, batch).open:
            return True
    return False


def _cell(
    read_gate: GateReader,
    lake: KnownLake,
    stage: str,
    batch: str,
    *,
    is_stale: bool,
    is_held: bool,
) -> Text:
    cell = Text()
    if lake.has(stage, batch):
        facts = lake.facts(stage, batch)
        cell.append(str(facts.rows))
        if facts.failures:
            cell.append(f"✗{facts.failures}", "red")
        if read_gate(stage, batch).open:
            cell.append(OPEN, "green")
        else:
            cell.append(CLOSED, "red")
        if is_stale:
            cell.append(STALE, "yellow")
    elif not is_held:
        cell.append(MISSING, "dim")
    if is_held:
        cell.append(HELD, "red")
    return cell


def _head(stage: str) -> list[str]:
    """Return a stage's name over several lines."""
    name = str(stage).replace("_", "_\n")
    for long, broken in _SYLLABLES:
        name = name.replace(long, broken)
    return name.split("\n")


def _head_lines(
    heads: Sequence[Sequence[str]], widths: Sequence[int], margin: int
) -> Iterator[str]:
    height = max(map(len, heads))
    for position in range(height):
        line = "batch".ljust(margin) if position == height - 1 else " " * margin
        if len(line) > margin:
            line = " " * margin
        for head, width in zip(heads, widths, strict=True):
            # Names stand on the last line, so that short ones are next to their numbers.
            skipped = height - len(head)
            part = head[position - skipped] if position >= skipped else ""
            line += part.ljust(width)
        yield line
    yield "─" * (margin + sum(widths) - 1)
