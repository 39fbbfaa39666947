"""`aidsafe plan`: what so many prompts will need, from the rows that were made here."""

from typing import Annotated

import typer

from aidsafe_dagster.cli.console import setup_errors_explained


def plan(
    prompts: Annotated[int, typer.Option(help="Prompts to plan for.", min=1)] = 10_000,
    tokens_per_second_per_gpu: Annotated[
        float | None,
        typer.Option(
            help="Generated tokens; else as measured on this machine's GPUs.", min=0.001
        ),
    ] = None,
    prefill_tokens_per_second_per_gpu: Annotated[
        float | None,
        typer.Option(
            help="Prompt tokens that are not cached; else part of the other rate.",
            min=0.001,
        ),
    ] = None,
    gpu_seconds_per_prompt: Annotated[
        float | None,
        typer.Option(help="In place of the two: 4 GPUs for 35 s are 140.", min=0.001),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(help="Print the hours on this many GPUs.", min=1)
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(help="Print the GPUs needed to finish in this time.", min=0.001),
    ] = None,
    gpu_price: Annotated[
        float | None, typer.Option(help="Of a GPU-hour, in any currency.", min=0)
    ] = None,
) -> None:
    """Calls, tokens, GPUs, hours and cost of N prompts, from what finished batches took."""
    with setup_errors_explained():
        from aidsafe_dagster.cli.capacity import Budget, print_plan
        from aidsafe_dagster.cli.local_runs import open_instance
        from aidsafe_dagster.reports.planning import Rates

        rates = Rates(
            tokens_per_second_per_gpu,
            prefill_tokens_per_second_per_gpu,
            gpu_seconds_per_prompt,
        )
        with open_instance() as instance:
            print_plan(instance, prompts, rates, Budget(gpus, hours, gpu_price))
