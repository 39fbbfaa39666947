"""A comparison as one HTML page to send: the quality report's page, with rows side by side."""

from collections.abc import Sequence

from aidsafe_dagster.comparisons.comparison import Comparison
from aidsafe_dagster.comparisons.rows import ChangedRow, sides_of
from aidsafe_dagster.reports.html import render_page
from aidsafe_dagster.reports.sections import Report


def comparison_page(
    comparison: Comparison, report: Report, rows: Sequence[ChangedRow]
) -> str:
    """Return the whole page."""
    return render_page(
        "comparison.html.jinja",
        report,
        f"{comparison.a.name} → {comparison.b.name}",
        rows=rows,
        policies=[sides_of(text) for text in comparison.changed_policies],
        changed_templates=[sides_of(text) for text in comparison.changed_templates],
        total=len(comparison.changed),
    )
