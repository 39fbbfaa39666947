"""What a backfill is about to do and what that is likely to cost, said before it begins."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import dagster as dg
import typer

from aidsafe_dagster.cli.capacity import present_prices, step_facts
from aidsafe_dagster.cli.console import listing, print_paragraph, quantity, short_count
from aidsafe_dagster.engines.prices import format_money
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import stage_named, stages_in_use
from aidsafe_dagster.reports.measured_usage import latest_batches, measure_batches
from aidsafe_dagster.reports.outlook import Outlook, Work, make_outlook, with_unmeasured
from aidsafe_dagster.reports.planning import price_unpriced
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.progress_log import describe_seconds

StagesByBatch = Mapping[str, Sequence[str]]


def look_ahead(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> Outlook:
    """Return what a prompt takes at each stage, as the batches finished last tell."""
    simulated = settings.engine == "rehearsal"
    batches = latest_batches(lake, simulated=simulated)
    sample = measure_batches(lake, batches, simulated=simulated)
    sample, _ = price_unpriced(sample, partial(present_prices, settings))
    outlook = make_outlook(sample, step_facts(instance, batches))
    return with_unmeasured(outlook, *unmeasured(settings))


def unmeasured(
    settings: Settings,
) -> tuple[Mapping[str, Sequence[str]], Mapping[str, float]]:
    """Return the stages that are on and repeat others, with these, and the shares they ask."""
    repeats = {}
    for stage in stages_in_use(settings):
        if stage_named(stage).repeats:
            repeats[str(stage)] = _repeated(settings, stage)
    share = settings.counterfactuals.share
    return repeats, {str(Stage.POLICY_COUNTERFACTUALS): share}


def _repeated(settings: Settings, stage: str) -> Sequence[str]:
    if settings.counterfactuals.writer == "single_call":
        return (Stage.SINGLE_LLM_COTS, Stage.COT_GRADES)
    return stage_named(stage).repeats


def print_preview(
    lake: Lake, settings: Settings, todo: StagesByBatch, outlook: Outlook
) -> None:
    """Print the batches to make, their stages, and what these are likely to take."""
    if not todo:
        return
    prompts = {batch: count_prompts(lake, batch) for batch in todo}
    together = quantity(sum(prompts.values()), "prompt")
    print_paragraph(f"To make: {quantity(len(todo), 'batch')}, {together}.")
    in_use = stages_in_use(settings)
    for lacking, batches in _alike(todo).items():
        print_paragraph(
            f"{listing(batches)}: {_describe_stages(lacking, in_use)}", indent=2
        )
    work = Work()
    for batch, stages in todo.items():
        of_batch = outlook.work(stages, prompts[batch])
        if of_batch is None:
            print_paragraph(
                "What it costs cannot be told: no batch is finished yet with this engine."
            )
            return
        work += of_batch
    print_paragraph(_describe_work(work, outlook, settings), indent=2)


def agree(settings: Settings, todo: StagesByBatch, *, is_agreed: bool) -> None:
    """Ask whether to begin, where calls may cost something and somebody can answer.

    Args:
        settings: say when to ask.
        todo: what is about to be made.
        is_agreed: the command line says yes.

    Raises:
        SetupError: the settings ask for an answer, and there is no terminal.
        typer.Exit: the answer is no.
    """
    ask = settings.backfill.ask
    # Nobody needs to be asked for what is simulated and takes seconds.
    if is_agreed or not todo or settings.engine == "rehearsal" or ask == "never":
        return
    if not sys.stdin.isatty():
        if ask == "always":
            raise SetupError(
                "backfill.ask is 'always' and there is no terminal to ask at: give --yes"
            )
        return
    if not typer.confirm("Begin?", default=True):
        raise typer.Exit


def count_prompts(lake: Lake, batch: str) -> int:
    """Return the prompts of a batch as it was ingested; 0 if that cannot be read."""
    try:
        return lake.rows(INGESTED, batch, ["prompt_id"]).height
    except SetupError:
        # Its run restores it from its copy, or says what is the matter.
        return 0


def _alike(todo: StagesByBatch) -> dict[tuple[str, ...], list[str]]:
    """Return batches by the stages that they lack."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for batch, stages in todo.items():
        alike.setdefault(tuple(stages), []).append(batch)
    return alike


def _describe_stages(stages: Sequence[str], in_use: Sequence[str]) -> str:
    if len(stages) == len(in_use):
        return f"all {len(in_use)} stages"
    return f"{len(stages)} of {len(in_use)} stages ({', '.join(stages)})"


def _describe_work(work: Work, outlook: Outlook, settings: Settings) -> str:
    line = f"Likely: {', '.join(_figures(work, outlook, settings.currency))}"
    origin = f"the mean of the {quantity(outlook.prompts, 'prompt')} finished last"
    if outlook.simulated:
        origin += ", all simulated"
    return f"{line} ({origin}). What the journal has answers for costs nothing."


def _figures(work: Work, outlook: Outlook, currency: str) -> Iterator[str]:
    yield f"{short_count(work.calls)} calls"
    tokens_in = short_count(work.tokens_in)
    yield f"{tokens_in} tokens in ({short_count(work.tokens_cached)} cached)"
    yield f"{short_count(work.tokens_out)} out"
    if currency:
        yield format_money(work.cost, currency)
    seconds = outlook.seconds(work)
    if seconds is not None:
        yield f"about {describe_seconds(seconds)} at the pace so far"
