"""Settings of the reports."""

from pydantic import Field

from aidsafe_dagster.recipe.records import Record


class ReportSettings(Record):
    deliberations: int = Field(default=40, ge=0, le=500)
    """Number of deliberations to read in the HTML report."""
    resamples: int = Field(default=1000, ge=100)
    """Number of bootstrap resamples behind each interval of a mean."""
