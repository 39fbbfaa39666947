"""Small plots for the UI: Markdown images that hold their own bytes."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

from aidsafe_dagster.engines.server_load import ServerLoad


def histogram(lengths: Sequence[int], what: str) -> str:
    def draw(axes: Any) -> None:
        axes.hist(lengths, bins=min(30, max(5, len(set(lengths)))), color="#4f43dd")
        axes.set_xlabel(what.replace("_", " "))
        axes.set_ylabel("rows")

    return picture(f"histogram of {what}", draw)


def in_flight(load: ServerLoad) -> str:
    def draw(axes: Any) -> None:
        axes.stackplot(
            load.at_s,
            load.running,
            load.waiting,
            labels=["running", "waiting"],
            colors=["#4f43dd", "#c9c6f5"],
        )
        axes.set_xlabel("seconds")
        axes.set_ylabel("calls at the server")
        axes.legend(frameon=False)

    return picture("calls in flight over time", draw)


def picture(title: str, draw: Callable[[Any], None]) -> str:
    """A small plot as a Markdown image that holds its own bytes."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second to import, needed only here

    figure = Figure(figsize=(5.2, 2.2), dpi=90, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return f"![{title}](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})"


def margins_plot(margins: Sequence[float], plain: Sequence[float]) -> str:
    def draw(axes: Any) -> None:
        bins = [step / 2 for step in range(-4, 9)]
        for values, label, colour in (
            (margins, "ear-whisperer", "#4f43dd"),
            (plain, "plain sampling", "#b9b5c9"),
        ):
            if values:
                weights = [1 / len(values)] * len(values)
                axes.hist(values, bins=bins, weights=weights, label=label, color=colour, alpha=0.7)
        axes.set_xlabel("margin (policy score, chosen minus rejected)")
        axes.set_ylabel("share of rows")
        axes.legend(frameon=False)

    return picture("margins of the pairs", draw)
