"""Small plots for the UI, as Markdown images that contain their own bytes."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aidsafe_dagster.engines.server_load import ServerLoad
from aidsafe_dagster.quality.statistics import Estimate

_MARGINS = {"left": 0.14, "right": 0.98, "bottom": 0.23, "top": 0.95}
"""Shares of the picture. They leave room for one line of labels, and for numbers below 100,000."""
_STRONG, _LIGHT, _GREY, _WARM = "#4f43dd", "#c9c6f5", "#b9b5c9", "#dd7a43"


def markdown_plot(title: str, draw: Callable[[Any], None]) -> str:
    """Return a small plot as a Markdown image; `draw` is given Matplotlib's axes."""
    # The import takes half a second, and only runs that plot need it.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(5.2, 2.2), dpi=90)
    # A layout that finds its own margins draws everything twice.
    axes = figure.subplots(gridspec_kw=_MARGINS)
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    encoded = base64.b64encode(image.getvalue()).decode()
    return f"![{title}](data:image/png;base64,{encoded})"


def histogram(lengths: Sequence[int], name: str) -> str:
    """Plot how many rows have which number of tokens."""

    def draw(axes: Any) -> None:
        # One bar per length, as far as a plot of this size has room for bars.
        bins = min(30, max(5, len(set(lengths))))
        # One shape. `hist` draws one for each bar.
        axes.stairs(*np.histogram(lengths, bins=bins), fill=True, color=_STRONG)
        axes.set_xlabel(name.replace("_", " "))
        axes.set_ylabel("rows")

    return markdown_plot(f"histogram of {name}", draw)


def calls_in_flight(load: ServerLoad) -> str:
    """Plot the calls that the server worked on, and those that waited there."""

    def draw(axes: Any) -> None:
        axes.stackplot(
            load.at_s,
            load.running,
            load.waiting,
            labels=["running", "waiting"],
            colors=[_STRONG, _LIGHT],
        )
        axes.set_xlabel("seconds")
        axes.set_ylabel("calls at the server")
        axes.legend(frameon=False)

    return markdown_plot("calls in flight over time", draw)


def margin_histogram(margins: Sequence[float], plain_margins: Sequence[float]) -> str:
    """Plot the margins of the pairs beside those of plain sampling."""

    def draw(axes: Any) -> None:
        # Half a point per bar, so the default threshold for pairs lies between two bars.
        bins = [step / 2 for step in range(-4, 9)]
        series = (
            (margins, "ear-whisperer", _STRONG),
            (plain_margins, "plain sampling", _GREY),
        )
        for values, label, colour in series:
            if values:
                # Weights make the bars shares, since the two samples differ in size.
                weights = [1 / len(values)] * len(values)
                axes.hist(
                    values,
                    bins=bins,
                    weights=weights,
                    label=label,
                    color=colour,
                    alpha=0.7,
                )
        axes.set_xlabel("margin (policy score, chosen minus rejected)")
        axes.set_ylabel("share of rows")
        axes.legend(frameon=False)

    return markdown_plot("margins of the pairs", draw)


def loss_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Plot the losses of a training over its steps."""

    def draw(axes: Any) -> None:
        for name, label, colour in (
            ("loss", "train", _STRONG),
            ("eval_loss", "validation", _WARM),
        ):
            points = curves.get(name)
            if points:
                steps, losses = zip(*points, strict=True)
                axes.plot(
                    steps, losses, label=label, color=colour, marker=".", markersize=4
                )
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)

    return markdown_plot("loss over steps", draw)


def estimates_plot(title: str, estimates: Mapping[str, Estimate], label: str) -> str:
    """Plot estimates with their intervals, side by side."""

    def draw(axes: Any) -> None:
        for place, estimate in enumerate(estimates.values()):
            value = estimate.value
            # A single row has a mean and no interval, and is drawn as a dot alone.
            low = value if estimate.low is None else estimate.low
            high = value if estimate.high is None else estimate.high
            # Matplotlib takes distances from the value, not the bounds themselves.
            error = [[value - low], [high - value]]
            axes.errorbar(
                place,
                value,
                yerr=error,
                fmt="o",
                color=_STRONG,
                capsize=4,
            )
        axes.set_xticks(range(len(estimates)), list(estimates))
        # An axis needs a width even without estimates.
        axes.set_xlim(-0.5, max(len(estimates) - 0.5, 0.5))
        axes.set_ylabel(label)

    return markdown_plot(title, draw)
