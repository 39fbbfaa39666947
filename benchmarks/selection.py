"""How long a selection of 1,000 of 20,000 rows takes, and what it is worth beside a random draw.

The rows are of planted worth (`tests/selection/planted.py`): how good each is and how hard its
prompt was is known, and the selection sees it through noisy grades alone.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import open_dataset
from aidsafe_dagster.selection.candidates import read_candidates
from aidsafe_dagster.selection.select import Selection, select_rows
from aidsafe_dagster.selection.settings import SelectionSettings
from aidsafe_dagster.selection.store import store_selection
from benchmarks.options import Options, Section
from tests.builders import policies
from tests.selection.planted import Truth, a_planted_lake

_ROWS = 20_000
_WANTED = 1_000
_TOPICS = 600
_GOOD = 0.5


def run(options: Options) -> Section:
    rows = options.rows or _ROWS
    wanted = min(_WANTED, rows // 20)
    with tempfile.TemporaryDirectory() as folder:
        planted = a_planted_lake(Path(folder), rows, _TOPICS)
        seconds, cpu_s, first = _timed(planted.lake, wanted)
        again_s, again_cpu_s, again = _timed(planted.lake, wanted)
    assert first == again
    selected = [row.prompt_id for row in first.rows if row.status == "chosen"]
    drawn = [row.prompt_id for row in first.rows if row.drawn]
    return Section(
        f"Selecting {wanted:,} of {rows:,} rows",
        f"Rows of planted worth in {_TOPICS} topics, three in ten of which say what another says. "
        "Each has a quality and a difficulty from 0 to 1, which judges, agents and target show "
        "with noise.",
        ("what", "selected", "random draw"),
        _lines(
            [planted.truths[prompt_id] for prompt_id in selected],
            [planted.truths[prompt_id] for prompt_id in drawn],
        ),
        [
            f"Reading the lake, choosing and storing: {seconds:.0f} s ({cpu_s:.0f} s of CPU); "
            f"once more, {again_s:.0f} s ({again_cpu_s:.0f} s), with the same rows and reasons.",
            "The command takes some seconds more, for Dagster's start.",
        ],
    )


def _timed(lake: Lake, wanted: int) -> tuple[float, float, Selection]:
    started, cpu_started = time.monotonic(), time.process_time()
    settings = SelectionSettings(rows=wanted)
    dataset = open_dataset(lake)
    candidates = read_candidates(dataset, policies(), settings.floor, 3.0)
    fingerprints = {
        batch: lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch)
        for batch in dataset.batches
    }
    selection = select_rows(candidates, settings, fingerprints)
    store_selection(lake, selection)
    return time.monotonic() - started, time.process_time() - cpu_started, selection


def _lines(
    selected: Sequence[Truth], drawn: Sequence[Truth]
) -> list[tuple[object, ...]]:
    sides = (selected, drawn)
    return [
        ("rows", *map(len, sides)),
        ("quality", *(f"{fmean(t.quality for t in side):.3f}" for side in sides)),
        (
            f"rows of a quality below {_GOOD}",
            *(sum(t.quality < _GOOD for t in side) for side in sides),
        ),
        ("difficulty", *(f"{fmean(t.difficulty for t in side):.3f}" for side in sides)),
        ("topics", *(len({t.topic for t in side}) for side in sides)),
        (
            "rows that say what another says",
            *(len(side) - len({t.said for t in side}) for side in sides),
        ),
    ]
