"""How a tryout is shown: as cards for people, or as lines of JSON for programs."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import typer
from rich.text import Text

from aidsafe_dagster.cli.cards import card
from aidsafe_dagster.cli.console import console, print_paragraph, print_plain
from aidsafe_dagster.cli.tryout_changes import (
    balance_table,
    change_card,
    word_by_word,
)
from aidsafe_dagster.cli.tryout_summary import summary
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.recipe.records import Failure
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets
from aidsafe_dagster.tryout.comparison import (
    ChangedText,
    PromptComparison,
    balance,
    changed_templates,
    compare_prompt,
    recipe_changes,
)
from aidsafe_dagster.tryout.redraws import is_asked_again
from aidsafe_dagster.tryout.results import TriedPrompt, Tryout
from aidsafe_dagster.tryout.store import tryout_settings

OnPoll = Callable[[], None]


@dataclass(frozen=True)
class Output:
    """Where a tryout is shown.

    Args:
        settings: name the secrets that are masked, and the home of the tryouts.
    """

    settings: Settings

    def log(self, line: str) -> None:
        """Take a line about a server."""
        raise NotImplementedError

    def waiting(self, progress: Progress) -> AbstractContextManager[OnPoll]:
        """Show progress for as long as the block lasts; yields what is called now and then."""
        raise NotImplementedError

    def judging(self) -> AbstractContextManager[Any]:
        """Show that the gates are judged."""
        return nullcontext()

    def prompt(
        self, tried: TriedPrompt, place: str, before: TriedPrompt | None
    ) -> None:
        """Show a prompt; `before` is what became of it in the tryout that it is compared with."""
        raise NotImplementedError

    def summary(self, tryout: Tryout, before: Tryout | None) -> None:
        """Show what the whole came to."""
        raise NotImplementedError


class Cards(Output):
    """For people."""

    def log(self, line: str) -> None:
        print_paragraph(mask_secrets(line, self.settings))

    @contextmanager
    def waiting(self, progress: Progress) -> Iterator[OnPoll]:
        with console.status("Trying …") as status:
            yield lambda: status.update(_progress_line(progress))

    def judging(self) -> AbstractContextManager[Any]:
        return console.status("Asking the gates …")

    def prompt(
        self, tried: TriedPrompt, place: str, before: TriedPrompt | None
    ) -> None:
        settings = tryout_settings(self.settings)
        if before is None:
            console.print(card(tried, place, settings), highlight=False)
        else:
            changes = change_card(compare_prompt(before, tried), place, settings)
            console.print(changes, highlight=False)

    def summary(self, tryout: Tryout, before: Tryout | None) -> None:
        if before is not None:
            for line in recipe_changes(before.recipes, tryout.recipes):
                print_plain(f"Changed since: {line}")
            for text in _changed_templates(before, tryout):
                title = Text(f"{visible(text.title)}: ", style="bold cyan")
                line_of_text = Text().append_text(title).append_text(word_by_word(text))
                console.print(line_of_text, highlight=False)
            pairs = _pairs(before, tryout)
            if pairs:
                console.print(balance_table(pairs), highlight=False)
        console.print(summary(tryout), highlight=False)


class JsonLines(Output):
    """For programs: one object a line. The last one has the type `summary`."""

    def log(self, line: str) -> None:
        typer.echo(mask_secrets(line, self.settings), err=True)

    def waiting(self, progress: Progress) -> AbstractContextManager[OnPoll]:  # noqa: ARG002
        return nullcontext(lambda: None)

    def prompt(
        self, tried: TriedPrompt, place: str, before: TriedPrompt | None
    ) -> None:
        line: dict[str, Any] = {
            "type": "prompt",
            "place": place,
            "prompt": tried.prompt.model_dump(mode="json"),
            "rows": {
                stage: row.model_dump(mode="json") for stage, row in tried.rows.items()
            },
            "failures": [self._failure(one) for one in tried.failures.values()],
            "held_back": [self._failure(one) for one in tried.held_back.values()],
            "candidates": [one.model_dump(mode="json") for one in tried.candidates],
            "low_scores": tried.low_scores,
            "new_usage": tried.spent.new.model_dump(),
            "replayed": tried.replayed,
            "seconds": round(tried.spent.seconds, 3),
        }
        if before is not None:
            line["changes"] = _changes(compare_prompt(before, tried))
        _print_line(line)

    def summary(self, tryout: Tryout, before: Tryout | None) -> None:
        line: dict[str, Any] = {
            "type": "summary",
            **tryout.facts.model_dump(mode="json", exclude={"prompts", "spent"}),
            "prompts": len(tryout.prompts),
            "failed": sum(tried.is_failed for tried in tryout.prompts),
            "new_usage": tryout.new_usage.model_dump(),
            "replayed": tryout.replayed,
            "asked_again_next_time": sum(map(is_asked_again, tryout.failures)),
            "folder": str(tryout.folder or ""),
        }
        if before is not None:
            line["recipe_changes"] = recipe_changes(before.recipes, tryout.recipes)
            line["templates"] = [
                asdict(text) for text in _changed_templates(before, tryout)
            ]
            figures = balance(_pairs(before, tryout))
            line["balance"] = [asdict(figure) for figure in figures]
        _print_line(line)

    def _failure(self, failure: Failure) -> dict[str, Any]:
        detail = mask_secrets(failure.detail, self.settings)
        return failure.model_copy(update={"detail": detail}).model_dump(mode="json")


def _print_line(values: dict[str, Any]) -> None:
    # All signs beyond ASCII as escapes, so that no terminal acts on one.
    typer.echo(json.dumps(values, default=str))


def _changed_templates(before: Tryout, after: Tryout) -> list[ChangedText]:
    return list(
        changed_templates(
            before.recipes, after.recipes, before.templates.get, after.templates.get
        )
    )


def _pairs(before: Tryout, after: Tryout) -> list[tuple[TriedPrompt, TriedPrompt]]:
    earlier = {tried.prompt.prompt_id: tried for tried in before.prompts}
    pairs = []
    for tried in after.prompts:
        if tried.prompt.prompt_id in earlier:
            pairs.append((earlier[tried.prompt.prompt_id], tried))
    return pairs


def _changes(comparison: PromptComparison) -> dict[str, Any]:
    return {
        "texts": [asdict(text) for text in comparison.texts],
        "values": [asdict(value) for value in comparison.values],
    }


def _progress_line(progress: Progress) -> str:
    line = (
        f"Trying …  {progress.calls_made} calls made, {progress.replayed} replayed, "
        f"{progress.in_flight} in flight, {progress.seconds:.0f} s"
    )
    # What a server says is no markup.
    notice = progress.notice.replace("[", "(")
    return f"{line}; {notice}" if notice else line
