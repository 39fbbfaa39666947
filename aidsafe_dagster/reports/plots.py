"""Plots: how the kinds of them are drawn, and how one becomes a PNG (the UI, Markdown) or an SVG (the HTML report).

The SVG is put into the page itself, its colours replaced by the page's own, so that it is legible by day and by night.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.reports.sections import Plot

INK, MUTED, GRID = "#2b2840", "#77738a", "#dcd9e8"
STRONG, MIDDLE, LIGHT, GREY = "#4f43dd", "#8f86ea", "#c9c6f5", "#b9b5c9"
WARM, HOT = "#e0a34a", "#d1495b"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    STRONG: "strong",
    MIDDLE: "middle",
    LIGHT: "light",
}
_VARIABLES |= {GREY: "grey", WARM: "warm", HOT: "hot"}
_STYLE = {
    "font.size": 9,
    "svg.fonttype": "none",
    "text.parse_math": False,
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
_WIDTH = 5.2


def draw_estimates(
    axes: Any,
    labels: Sequence[str],
    series: Mapping[str, Sequence[Estimate | None]],
    colours: Sequence[str],
) -> None:
    """A line per label, a dot with its interval per series."""
    step = 0.7 / max(1, len(series))
    for n, (name, estimates) in enumerate(series.items()):
        places = [place + (n - (len(series) - 1) / 2) * step for place in range(len(labels))]
        known = [
            (place, found)
            for place, found in zip(places, estimates, strict=True)
            if found is not None
        ]
        for place, found in known:
            axes.plot(
                [found.low, found.high],
                [place, place],
                color=colours[n],
                linewidth=2,
                solid_capstyle="round",
            )
        axes.plot(
            [found.value for _, found in known],
            [place for place, _ in known],
            "o",
            color=colours[n],
            markersize=5,
            label=name,
        )
    _name_lines(axes, labels)
    axes.grid(axis="x")


def draw_marks(axes: Any, values: Sequence[float], label: str) -> None:
    """Landmarks beside the estimates, one a line."""
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
    axes: Any, labels: Sequence[str], series: Mapping[str, Sequence[float]], colours: Sequence[str]
) -> None:
    """A bar per label, made up of the shares (0 to 1) of the series."""
    left = [0.0] * len(labels)
    for (name, shares), colour in zip(series.items(), colours, strict=True):
        axes.barh(range(len(labels)), shares, left=left, color=colour, label=name, height=0.62)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    _name_lines(axes, labels)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def draw_histograms(
    axes: Any, series: Mapping[str, Sequence[float]], edges: Sequence[float], colours: Sequence[str]
) -> None:
    """Shares of each series' values between the edges, one outline over the other."""
    import numpy as np  # noqa: PLC0415 - loaded with matplotlib, needed only here

    for (name, values), colour in zip(series.items(), colours, strict=True):
        if values:
            shares = np.histogram(values, bins=edges)[0] / len(values)
            axes.stairs(shares, edges, color=colour, fill=True, alpha=0.28)
            axes.stairs(shares, edges, color=colour, linewidth=1.6, label=name)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.tick_params(axis="y", labelcolor=MUTED, length=0)
    axes.grid(axis="y")


def legend(axes: Any, columns: int = 4) -> None:
    """Above the plot, out of the way of what is drawn."""
    axes.legend(
        frameon=False,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        fontsize=8,
        handlelength=1.2,
        borderpad=0,
    )


def _name_lines(axes: Any, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # the first line is the upmost
    axes.tick_params(axis="y", length=0)


def png(plot: Plot) -> str:
    """A data URI."""
    return f"data:image/png;base64,{base64.b64encode(_saved(plot, 'png')).decode()}"


def svg(plot: Plot) -> str:
    """An `svg` element whose colours are the page's."""
    text = _saved(plot, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    return text.replace("'DejaVu Sans'", "inherit")


def _saved(plot: Plot, kind: str) -> bytes:
    import matplotlib as mpl  # noqa: PLC0415 - half a second to import, needed only here
    from matplotlib.figure import Figure  # noqa: PLC0415

    image = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, plot.height), dpi=110, layout="constrained")
        axes = figure.subplots()
        plot.draw(axes)
        axes.spines[["top", "right", "left"]].set_visible(False)
        figure.savefig(image, format=kind, transparent=kind == "svg", metadata=_no_time(kind))
    return image.getvalue()


def _no_time(kind: str) -> dict[str, None]:
    return {"Date": None, "Creator": None, "Format": None, "Type": None} if kind == "svg" else {}
