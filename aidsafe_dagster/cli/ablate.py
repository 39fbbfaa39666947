"""`aidsafe ablate …`: experiments on a sample of prompts, one command each."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from aidsafe_dagster.cli.chosen_batches import Batches, Sources
from aidsafe_dagster.cli.console import setup_errors_explained

if TYPE_CHECKING:
    from aidsafe_dagster.settings.schema import Settings

app = typer.Typer(
    help="Experiments: variants of the recipe on the same prompts, with intervals and cost.",
    no_args_is_help=True,
)

Sample = Annotated[
    int | None,
    typer.Option(
        help="Prompts to take, those that failed included; else ablation.sample.", min=1
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Begin without being asked.")]


@app.command()
def rounds(
    *,
    sample: Sample = None,
    batches: Batches = None,
    sources: Sources = None,
    yes: Yes = False,
) -> None:
    """Deliberation cut off after 0, 1, 2, … rounds.

    Earlier rounds are replayed from the journal, not asked again.
    """
    _run("rounds", sample, batches, sources, yes=yes)


@app.command()
def refiner(
    *,
    sample: Sample = None,
    batches: Batches = None,
    sources: Sources = None,
    yes: Yes = False,
) -> None:
    """With and without the refiner: tokens saved against quality lost."""
    _run("refiner", sample, batches, sources, yes=yes)


@app.command()
def baseline(
    *,
    sample: Sample = None,
    batches: Batches = None,
    sources: Sources = None,
    yes: Yes = False,
) -> None:
    """A single call of one model against deliberation and refinement."""
    _run("baseline", sample, batches, sources, yes=yes)


@app.command("round-table")
def round_table(
    *,
    agents: Annotated[
        list[int] | None,
        typer.Option(
            help="Size of a round table; may be given again. Else ablation.agents.",
            min=1,
        ),
    ] = None,
    sample: Sample = None,
    batches: Batches = None,
    sources: Sources = None,
    yes: Yes = False,
) -> None:
    """Agents in turn against round tables, and how different what their agents say is."""

    def config_of(_: "Settings") -> dict[str, object]:
        return {"agents": agents or []}

    _run("round_table", sample, batches, sources, yes=yes, config_of=config_of)


@app.command()
def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="A model of the engine's server, or MODEL@SERVER with a name under "
            "[servers]. None: the variants of ablation.models.",
        ),
    ] = None,
    *,
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="Role that the models take; may be given again. Else deliberator."
        ),
    ] = None,
    pairs: Annotated[
        bool,
        typer.Option(help="Also deliberate with two of the models in turn."),
    ] = True,
    sample: Sample = None,
    batches: Batches = None,
    sources: Sources = None,
    yes: Yes = False,
) -> None:
    """The configured models against others, each alone and in mixed pairs.

    The judges stay the same.
    """

    def config_of(settings: "Settings") -> dict[str, object]:
        from aidsafe_dagster.cli.named_models import model_variants

        variants = model_variants(settings, names or (), role or (), pairs=pairs)
        return {"variants": variants}

    _run("models", sample, batches, sources, yes=yes, config_of=config_of)


@app.command()
def targets(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="A further target, as MODEL or MODEL@SERVER. None: those of "
            "ablation.targets.",
        ),
    ] = None,
    *,
    sample: Sample = None,
    batches: Batches = None,
    sources: Sources = None,
    yes: Yes = False,
) -> None:
    """The ear-whisperer against the configured target and others."""

    def config_of(settings: "Settings") -> dict[str, object]:
        from aidsafe_dagster.cli.named_models import named_model

        return {"targets": {name: named_model(settings, name) for name in names or ()}}

    _run("targets", sample, batches, sources, yes=yes, config_of=config_of)


@app.command()
def context(
    *,
    sample: Sample = None,
    batches: Batches = None,
    sources: Sources = None,
    yes: Yes = False,
) -> None:
    """Agents that are shown the state of the row, against agents that see the whole chat."""
    _run("context", sample, batches, sources, yes=yes)


def _no_config(_: "Settings") -> dict[str, object]:
    return {}


PromptsAsked = Annotated[
    int | None,
    typer.Option(
        help="Prompts of each benchmark, 0: all; else evaluation.sample.", min=0
    ),
]


@app.command()
def training(*, sample: PromptsAsked = None, yes: Yes = False) -> None:
    """Table 2: base, SFT on original and single-LLM answers, ours, ours with DPO.

    Trains every arm and asks all of them the benchmarks. Goes on after a kill.
    """
    _compare("training", sample, {}, yes=yes)


@app.command("over-refusal")
def over_refusal(
    *,
    share: Annotated[
        list[float] | None,
        typer.Option(
            help="Share of needless-refusal pairs, 0 to 1; may be given again. "
            "Else 0, 0.25 and 0.5.",
            min=0,
            max=1,
        ),
    ] = None,
    sample: PromptsAsked = None,
    yes: Yes = False,
) -> None:
    """DPO at several shares of needless-refusal pairs, on XSTest and safety benchmarks.

    Goes on after a kill.
    """
    _compare("over-refusal", sample, {"shares": share} if share else {}, yes=yes)


def _compare(
    kind: str, sample: int | None, config: dict[str, object], *, yes: bool
) -> None:
    with setup_errors_explained():
        from aidsafe_dagster.cli.training_comparison import run_comparison

        if sample is not None:
            config = {**config, "sample": sample}
        run_comparison(kind, config, is_agreed=yes)


def _run(
    kind: str,
    sample: int | None,
    batches: list[str] | None,
    sources: list[str] | None,
    *,
    yes: bool,
    config_of: Callable[["Settings"], dict[str, object]] = _no_config,
) -> None:
    with setup_errors_explained():
        from aidsafe_dagster.cli.ablating import Request, run_experiment

        request = Request(kind, config_of, sample, batches or (), sources or ())
        run_experiment(request, is_agreed=yes)
