"""The sample as people get it: an HTML form that needs no network, and a CSV file for a spreadsheet.

Prompts and answers are data: escaped in the page, where a content security policy admits no script but the form's own,
and never the beginning of a formula in a spreadsheet.
"""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import METRICS, Metric
from aidsafe_dagster.review.sample import ReviewSample

SIDES = ("left", "right")
ANSWERS = (*METRICS, "preferred", "comment")
RATING_COLUMNS = ("review_id", "item_id", "side", "rater", *ANSWERS)
"""What a file of ratings holds: a row per item and side."""
_TEXTS = ("prompt", "cot", "response")
_FOLDER = Path(__file__).parent
_JUDGE_S_TASK = "cot_grades/grade.jinja"
_FORMULA = re.compile(r"^\s*[=+\-@|]")


def load_metric_definitions(prompts: Path) -> dict[Metric, str]:
    """What each metric means, in the words that the judge is given.

    Raises:
        SetupError: the judge's template does not explain a metric.
    """
    file = prompts / _JUDGE_S_TASK
    try:
        told = dict(re.findall(r"^- (\w+): (.+)$", file.read_text("utf-8"), flags=re.MULTILINE))
    except OSError as error:
        raise SetupError(
            f"{file}: {error.strerror}; people are given the judge's own words"
        ) from error
    if missing := [metric for metric in METRICS if metric not in told]:
        raise SetupError(
            f"{file}: no line '- {missing[0]}: …' says what is scored; raters need it as the judge does"
        )
    return {metric: told[metric] for metric in METRICS}


def html_form(sample: ReviewSample, policies: Policies, words: Mapping[Metric, str]) -> str:
    """The page; all that it needs is in it."""
    jinja = Environment(
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
    )
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("form.css", "form.js"))
    page = jinja.get_template("form.html.jinja").render(
        review_id=sample.review_id,
        count=len(sample.items),
        simulated=sample.simulated,
        policies=policies.policies,
        data=_data(sample, words),
        style=style,
        style_hash=_source_hash(style),
        script=script,
        script_hash=_source_hash(script),
    )
    return f"{page}\n"


def csv_form(sample: ReviewSample) -> str:
    """A row per item and side, texts filled in and answers empty."""
    text = io.StringIO()
    columns = ("review_id", "item_id", "side", *_TEXTS, "rater", *ANSWERS)
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    for item in sample.items:
        for name, side in zip(SIDES, (item.left, item.right), strict=True):
            texts = {
                "prompt": item.prompt,
                "cot": "\n\n".join(side.thoughts),
                "response": side.response,
            }
            cells = {column: _no_formula(cell) for column, cell in texts.items()}
            writer.writerow(
                {"review_id": sample.review_id, "item_id": item.item_id, "side": name} | cells
            )
    return text.getvalue()


def _data(sample: ReviewSample, words: Mapping[Metric, str]) -> dict[str, Any]:
    return {
        "review_id": sample.review_id,
        "metrics": [{"name": metric, "words": explained} for metric, explained in words.items()],
        "columns": RATING_COLUMNS,
        "items": [item.model_dump() for item in sample.items],
    }


def _source_hash(source: str) -> str:
    """As a content security policy names an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def _no_formula(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell
