"""The sample as raters get it: an HTML form that works offline, and a CSV file for a spreadsheet.

Prompts and answers are data. The page escapes them and its content security policy admits no script
but the form's own. In the CSV file no text begins like a formula of a spreadsheet.
"""

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.foreign_text import without_bidi_controls
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import METRICS, Metric
from aidsafe_dagster.review.sample import Item, ReviewSample

SIDES = ("left", "right")
ANSWERS = (*METRICS, "preferred", "comment")
RATING_COLUMNS = ("review_id", "item_id", "side", "rater", *ANSWERS)
"""Columns of a file of ratings. It has a row per item and side."""
_CSV_COLUMNS = (
    "review_id",
    "item_id",
    "side",
    "prompt",
    "cot",
    "response",
    "rater",
    *ANSWERS,
)
_FOLDER = Path(__file__).parent
_JUDGE_TEMPLATE = "cot_grades/grade.jinja"
_FORMULA = re.compile(r"^\s*[=+\-@|]")


def load_metric_definitions(prompts: Path) -> dict[Metric, str]:
    """Return what each metric means, in the words of the judge's template.

    Raises:
        SetupError: the template cannot be read or does not explain a metric.
    """
    file = prompts / _JUDGE_TEMPLATE
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise SetupError(
            f"{file}: {error.strerror}; raters get the words of this template"
        ) from error
    definitions = dict(re.findall(r"^- (\w+): (.+)$", text, flags=re.MULTILINE))
    # People and judges can only agree if they were asked the same.
    for metric in METRICS:
        if metric not in definitions:
            raise SetupError(
                f"{file}: no line '- {metric}: …' explains the metric; raters need the same "
                "explanation as the judge"
            )
    return {metric: definitions[metric] for metric in METRICS}


def html_form(
    sample: ReviewSample, policies: Policies, definitions: Mapping[Metric, str]
) -> str:
    """Return the form as one page that needs no other file."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
    )
    style = (_FOLDER / "form.css").read_text("utf-8")
    script = (_FOLDER / "form.js").read_text("utf-8")
    page = environment.get_template("form.html.jinja").render(
        review_id=sample.review_id,
        count=len(sample.items),
        simulated=sample.simulated,
        policies=policies.policies,
        data=_form_data(sample, definitions),
        style=style,
        style_hash=_csp_hash(style),
        script=script,
        script_hash=_csp_hash(script),
    )
    # jinja2 drops the newline at the end of a template.
    return f"{page}\n"


def csv_form(sample: ReviewSample) -> str:
    """Return a row per item and side, with the texts filled in and the answers empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, restval="")
    writer.writeheader()
    for item in sample.items:
        for side_name, side in zip(SIDES, (item.left, item.right), strict=True):
            writer.writerow(
                {
                    "review_id": sample.review_id,
                    "item_id": item.item_id,
                    "side": side_name,
                    "prompt": _escape_formula(item.prompt),
                    "cot": _escape_formula("\n\n".join(side.thoughts)),
                    "response": _escape_formula(side.response),
                }
            )
    return text.getvalue()


def _form_data(
    sample: ReviewSample, definitions: Mapping[Metric, str]
) -> dict[str, Any]:
    """Return the data that the script of the form reads."""
    metrics = []
    for metric, definition in definitions.items():
        metrics.append({"name": metric, "definition": definition})
    return {
        "review_id": sample.review_id,
        "metrics": metrics,
        "columns": RATING_COLUMNS,
        "items": [_shown(item) for item in sample.items],
    }


def _shown(item: Item) -> Any:
    """Return what is shown of an item, without what would reorder its text."""
    return json.loads(without_bidi_controls(item.model_dump_json()))


def _csp_hash(source: str) -> str:
    """Return the hash by which a content security policy admits an inline style or script."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _escape_formula(cell: str) -> str:
    """Prefix text that a spreadsheet would run as a formula."""
    # A spreadsheet takes a cell that begins with an apostrophe as text.
    if _FORMULA.match(cell):
        return f"'{cell}"
    return cell
