"""Render a report as one HTML file to send: a few lines of script, nothing loaded from outside.

The template engine escapes every text, and a content security policy forbids the page whatever it
does not need. A model's words can do nothing even if an escape were missed.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aidsafe_dagster.recipe.foreign_text import without_bidi_controls
from aidsafe_dagster.recipe.records import METRICS, ThoughtVerdict
from aidsafe_dagster.reports.paper import METRIC_NAMES, VERSION_NAMES
from aidsafe_dagster.reports.plots import render_svg
from aidsafe_dagster.reports.sections import Plot, Report

REPORT_TEMPLATES = Path(__file__).parent / "templates"
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def to_html(report: Report, title: str) -> str:
    """Return the whole page."""
    return render_page("report.html.jinja", report, title)


def render_page(name: str, report: Report, title: str, **values: Any) -> str:
    """Return a page that shows a report, and more where its template does.

    Args:
        name: of the template; one that extends that of the report, or it.
        report: what the page begins with.
        title: of the page.
        values: what the template shows besides.
    """
    style = (REPORT_TEMPLATES / "report.css").read_text("utf-8")
    script = (REPORT_TEMPLATES / "browse.js").read_text("utf-8")
    # The content security policy admits the script by its hash, and no other.
    script_digest = hashlib.sha256(script.encode()).digest()
    script_hash = base64.b64encode(script_digest).decode()
    template = page_environment().get_template(name)
    return template.render(
        report=report,
        title=title,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=script_hash,
        **values,
    )


def page_environment(*folders: Path) -> Environment:
    """Return the template engine of pages, which escapes every text.

    Args:
        folders: of templates, before those of the reports.
    """
    environment = Environment(
        loader=FileSystemLoader([*folders, REPORT_TEMPLATES]),
        autoescape=True,
        # A misspelt name in a template raises instead of showing nothing.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # A model's answer may hold any character.
        finalize=shown,
    )
    environment.filters["draw"] = _draw_plot
    # A page with a search marks what was searched for.
    environment.filters["marked"] = str
    environment.globals |= {
        "METRICS": METRICS,
        "METRIC_NAMES": METRIC_NAMES,
        "VERSION_NAMES": VERSION_NAMES,
        "KEEP": ThoughtVerdict.KEEP,
    }
    return environment


def shown(value: Any) -> Any:
    """Replace characters that a page may not hold, or that nobody sees, by a visible sign.

    Those that reorder the text around them go.
    """
    if isinstance(value, str) and not isinstance(value, Markup):
        return _CONTROLS.sub("\ufffd", without_bidi_controls(value))
    return value


def _draw_plot(plot: Plot) -> Markup:
    return Markup(render_svg(plot))  # noqa: S704 - matplotlib escapes the words in its drawings
