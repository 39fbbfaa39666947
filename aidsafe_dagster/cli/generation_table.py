"""`aidsafe generation list`: what each generation is, and how far it has come."""

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aidsafe_dagster.cli.console import console, print_paragraph
from aidsafe_dagster.cli.generation_project import load_project, settings_in
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.generations.records import (
    Generation,
    generation_folder,
    read_generations,
)
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.settings.load import Loaded
from aidsafe_dagster.training.generation import SpeakingAdapter

_COLUMNS = (
    "no.",
    "speaks",
    "batches",
    "pairs",
    "SFT",
    "DPO",
    "adapters",
    "state",
)


def print_generations() -> None:
    """Print a line for each generation, and where it lies."""
    project = load_project()
    generations = read_generations(project.settings)
    if not generations:
        print_paragraph(
            "No generation was begun yet: `aidsafe generation run` begins the first one."
        )
        return
    table = Table(box=SIMPLE_HEAD)
    for column in _COLUMNS:
        justify = "right" if column in _COLUMNS[2:6] else "left"
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for generation in generations:
        table.add_row(*map(Text, _cells(project, generation)))
    console.print(table)
    for generation in generations:
        if generation.number > 1:
            folder = shown(generation_folder(project.settings, generation.number))
            print_paragraph(f"Generation {generation.number}: {folder}")


def _cells(project: Loaded, generation: Generation) -> tuple[str, ...]:
    lake = Lake(settings_in(project, generation.number).lake)
    batches = lake.batches(Stage.FINE_TUNE_SPLITS)
    pairs = sum(
        lake.rows(Stage.PREFERENCE_PAIRS, batch, ["prompt_id"]).height
        for batch in lake.batches(Stage.PREFERENCE_PAIRS)
    )
    kinds = {"sft": 0, "dpo": 0}
    for batch in batches:
        for kind in lake.rows(Stage.FINE_TUNE_SPLITS, batch, ["kind"])["kind"]:
            kinds[kind] += 1
    speaker = generation.speaker
    adapters = [_short(one) for one in generation.adapters]
    return (
        str(generation.number),
        _short(speaker) if speaker else "no adapter",
        f"{len(batches):,}",
        f"{pairs:,}",
        f"{kinds['sft']:,}",
        f"{kinds['dpo']:,}",
        "\n".join(adapters) or "none yet",
        "finished" if generation.is_finished else "begun",
    )


def _short(adapter: SpeakingAdapter) -> str:
    """Return name and the first digits of the weights' hash; rows have it whole."""
    return f"{adapter.name}@{adapter.weights[:6]}"
