"""Which engine answers, as one line at the beginning of a command."""

from aidsafe_dagster.cli.console import REHEARSAL, console, print_paragraph
from aidsafe_dagster.settings.schema import Settings


def print_engine(settings: Settings) -> None:
    if settings.engine == "rehearsal":
        console.print(REHEARSAL)
    elif settings.engine == "vllm":
        print_paragraph(f"Engine: vLLM with {settings.vllm.model} on this machine")
    else:
        print_paragraph(
            f"Engine: {settings.endpoint.model} at {settings.endpoint.base_url}"
        )
