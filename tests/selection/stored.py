"""A selection in force, without choosing."""

from collections.abc import Collection, Sequence

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.selection.records import BatchMark, SelectionFacts, SelectionRow
from aidsafe_dagster.selection.select import Selection
from aidsafe_dagster.selection.store import store_selection


def put_selection(
    lake: Lake, batches: Sequence[str], chosen: Sequence[str], drawn: Collection[str]
) -> None:
    """Store a selection of these prompts, with a random draw of those."""
    rows = []
    for prompt_id in dict.fromkeys([*chosen, *drawn]):
        is_chosen = prompt_id in chosen
        rows.append(
            SelectionRow(
                prompt_id=prompt_id,
                batch=batches[0],
                source="a",
                prompt_kind="harmful",
                language="en",
                policy="fraud",
                quality=5.0,
                difficulty=0.5,
                hardness="",
                neighbourhood=0,
                status="chosen" if is_chosen else "surplus",
                rank=chosen.index(prompt_id) + 1 if is_chosen else None,
                like="",
                similarity=None,
                drawn=prompt_id in drawn,
                why="because",
            )
        )
    marks = [
        BatchMark(
            batch=batch, fingerprint=lake.fingerprint(Stage.FINE_TUNE_SPLITS, batch)
        )
        for batch in batches
    ]
    facts = SelectionFacts(
        version="one",
        rows_key="one",
        wanted=len(chosen),
        chosen=len(chosen),
        meaning="words",
        threshold=0.6,
        neighbourhoods=1,
        seed=0,
        settings="{}",
        simulated=False,
        batches=tuple(marks),
        accounts=(),
        shares=(),
        sides=(),
    )
    store_selection(lake, Selection(rows, facts))
