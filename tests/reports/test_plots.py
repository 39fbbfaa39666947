import re
from xml.etree import ElementTree

from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.reports import plots
from aidsafe_dagster.reports.sections import Plot

PLOTS = {
    "estimates": lambda axes: plots.draw_estimates(
        axes,
        ["a", "b", "c"],
        {"x": [Estimate(1, 0.5, 2, 9), None, Estimate(1, None, None, 1)]},
        [plots.STRONG],
    ),
    "shares": lambda axes: plots.draw_shares(
        axes, ["a"], {"x": [0.25], "y": [0.75]}, [plots.HOT, plots.GREY]
    ),
    "histograms": lambda axes: plots.draw_histograms(
        axes, {"x": [1, 2, 2], "none": []}, [0, 1, 2, 3], [plots.WARM, plots.LIGHT]
    ),
}


def test_every_kind_of_plot_becomes_an_svg_in_the_colours_of_the_page() -> None:
    for name, draw in PLOTS.items():
        svg = plots.render_svg(Plot(name, draw))
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "width" not in root.attrib
        assert "var(--" in svg
        assert not re.findall(r"(?:fill|stroke): ?#(?!000|fff)[0-9a-f]{6}", svg), name
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


def test_the_same_plot_has_the_same_bytes() -> None:
    plot = Plot("p", PLOTS["estimates"])
    assert plots.render_svg(plot) == plots.render_svg(plot)
    assert plots.render_png(plot) == plots.render_png(plot)
    assert plots.render_png(plot).startswith("data:image/png;base64,iVBOR")


def test_words_in_a_plot_are_escaped() -> None:
    svg = plots.render_svg(
        Plot(
            "p",
            lambda axes: plots.draw_shares(axes, ["<b>&"], {"x": [1.0]}, [plots.HOT]),
        )
    )
    assert "&lt;b&gt;&amp;" in svg
    assert "<b>" not in svg
