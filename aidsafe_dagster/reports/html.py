"""A report as one HTML file that a person can send: no script but a few lines, nothing from outside, no network.

Every text is escaped by the template engine, and a content security policy forbids the page whatever it does not need,
so that a model's words can do nothing even if an escape were missed.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aidsafe_dagster.recipe.records import METRICS, ThoughtVerdict
from aidsafe_dagster.reports.paper import NAMES, WORDING
from aidsafe_dagster.reports.plots import svg
from aidsafe_dagster.reports.sections import Plot, Report

_FOLDER = Path(__file__).parent / "templates"
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def to_html(report: Report, title: str) -> str:
    """The whole page."""
    script = (_FOLDER / "browse.js").read_text("utf-8")
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            title=title,
            style=Markup((_FOLDER / "report.css").read_text("utf-8")),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["drawn"] = _drawn
    environment.globals |= {
        "METRICS": METRICS,
        "WORDING": WORDING,
        "NAMES": NAMES,
        "KEEP": ThoughtVerdict.KEEP,
    }
    return environment


def _visible(value: Any) -> Any:
    """Characters that no page may hold, or that nobody sees, as a sign that something was there."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _CONTROLS.sub("\ufffd", value)
    return value


def _drawn(plot: Plot) -> Markup:
    return Markup(svg(plot))  # noqa: S704 - matplotlib escapes the words in its drawings
