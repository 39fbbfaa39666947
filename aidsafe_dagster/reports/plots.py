"""How plots are drawn, and how a plot becomes a PNG (UI, Markdown) or an SVG (HTML report).

The SVG is part of the page and takes its colours, so that it is legible by day and by night.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.reports.sections import Plot

INK, MUTED, GRID = "#2b2840", "#77738a", "#dcd9e8"
STRONG, MIDDLE, LIGHT, GREY = "#4f43dd", "#8f86ea", "#c9c6f5", "#b9b5c9"
WARM, HOT = "#e0a34a", "#d1495b"
_CSS_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    STRONG: "strong",
    MIDDLE: "middle",
    LIGHT: "light",
    GREY: "grey",
    WARM: "warm",
    HOT: "hot",
}
"""Colour → name of the variable in report.css."""
_STYLE = {
    "font.size": 9,
    # Words stay words, in the font of the page.
    "svg.fonttype": "none",
    # The name of a model may hold a dollar sign.
    "text.parse_math": False,
    # Ids in the SVG come from a hash. A fixed salt gives the same plot the same bytes.
    "svg.hashsalt": "aidsafe",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
}
_DATA_URIS = WeakKeyDictionary[Plot, str]()
"""Of the plots that were drawn, as long as their report is held."""
_WIDTH = 5.2
_ROW_SHARE = 0.7
"""Share of a row's height that its series take up together."""


def draw_estimates(
    axes: Any,
    labels: Sequence[str],
    series: Mapping[str, Sequence[Estimate | None]],
    colours: Sequence[str],
) -> None:
    """Draw a row per label with a dot and its interval per series."""
    step = _ROW_SHARE / max(1, len(series))
    for n, (name, estimates) in enumerate(series.items()):
        # The series of a row stand below each other, around its middle.
        middle = (len(series) - 1) / 2
        offset = (n - middle) * step
        values, heights = [], []
        for row, estimate in enumerate(estimates):
            if estimate is None:
                continue
            values.append(estimate.value)
            heights.append(row + offset)
            axes.plot(
                [estimate.low, estimate.high],
                [row + offset, row + offset],
                color=colours[n],
                linewidth=2,
                solid_capstyle="round",
            )
        axes.plot(
            values,
            heights,
            "o",
            color=colours[n],
            markersize=5,
            label=name,
        )
    _label_rows(axes, labels)
    axes.grid(axis="x")


def draw_marks(axes: Any, values: Sequence[float], label: str) -> None:
    """Draw a landmark beside the estimates, one in each row."""
    axes.plot(
        values,
        range(len(values)),
        "D",
        label=label,
        markersize=4.5,
        markerfacecolor="none",
        markeredgecolor=MUTED,
    )


def draw_shares(
    axes: Any,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    colours: Sequence[str],
) -> None:
    """Draw a bar per label, stacked from the shares (0 to 1) of the series."""
    rows = range(len(labels))
    left = [0.0] * len(labels)
    for (name, shares), colour in zip(series.items(), colours, strict=True):
        axes.barh(
            rows,
            shares,
            left=left,
            color=colour,
            label=name,
            height=0.62,
        )
        # The next series is stacked to the right of this one.
        left = [start + share for start, share in zip(left, shares, strict=True)]
    _label_rows(axes, labels)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(format_percent_tick)


def draw_histograms(
    axes: Any,
    series: Mapping[str, Sequence[float]],
    edges: Sequence[float],
    colours: Sequence[str],
) -> None:
    """Draw the share of each series' values between the edges, one outline over the other."""
    import numpy as np  # noqa: PLC0415 - loaded with matplotlib, needed only here

    for (name, values), colour in zip(series.items(), colours, strict=True):
        if values:
            # Shares and not counts, so that versions with different numbers of rows compare.
            counts, _ = np.histogram(values, bins=edges)
            shares = counts / len(values)
            axes.stairs(
                shares,
                edges,
                color=colour,
                fill=True,
                alpha=0.28,
            )
            axes.stairs(
                shares,
                edges,
                color=colour,
                linewidth=1.6,
                label=name,
            )
    axes.yaxis.set_major_formatter(format_percent_tick)
    axes.tick_params(axis="y", labelcolor=MUTED, length=0)
    axes.grid(axis="y")


def format_percent_tick(value: float, _: object) -> str:
    """Return the label of a tick. Matplotlib also passes its position."""
    return f"{100 * value:.0f} %"


def legend(axes: Any, columns: int = 4) -> None:
    """Put the legend above the plot, where it covers nothing."""
    axes.legend(
        frameon=False,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        fontsize=8,
        handlelength=1.2,
        borderpad=0,
    )


def _label_rows(axes: Any, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    # Reversed: the first row is at the top.
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def render_png(plot: Plot) -> str:
    """Return the plot as a data URI. It is drawn once: the UI and the Markdown both show it."""
    uri = _DATA_URIS.get(plot)
    if uri is None:
        image = _save_image(plot, "png")
        uri = f"data:image/png;base64,{base64.b64encode(image).decode()}"
        _DATA_URIS[plot] = uri
    return uri


def render_svg(plot: Plot) -> str:
    """Return the plot as an `svg` element in the colours of the page."""
    text = _save_image(plot, "svg").decode()
    # The XML declaration before it has no place inside a page.
    text = text[text.index("<svg") :]
    # Without width and height, the element takes the width of its container.
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for colour, name in _CSS_VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    # This is matplotlib's own font, and the page has another.
    return text.replace("'DejaVu Sans'", "inherit")


def _save_image(plot: Plot, kind: str) -> bytes:
    import matplotlib as mpl  # noqa: PLC0415 - half a second to import, needed only here
    from matplotlib.figure import Figure  # noqa: PLC0415

    image = io.BytesIO()
    # A Figure of its own and not pyplot, which keeps figures in a state shared by all threads.
    with mpl.rc_context(_STYLE):
        figure = Figure(
            figsize=(_WIDTH, plot.height),
            dpi=110,
            layout="constrained",
        )
        axes = figure.subplots()
        plot.draw(axes)
        axes.spines[["top", "right", "left"]].set_visible(False)
        figure.savefig(
            image,
            format=kind,
            # Only the page is known to have a background of its own.
            transparent=kind == "svg",
            metadata=_metadata(kind),
        )
    return image.getvalue()


def _metadata(kind: str) -> dict[str, None]:
    """Return metadata without the time, so that the same plot has the same bytes."""
    if kind != "svg":
        return {}
    return {"Date": None, "Creator": None, "Format": None, "Type": None}
