"""Links from the web UI's pages to the rows of a batch.

A link without a server leads to the one that shows the page: `aidsafe dev` serves the rows beside
the UI. Where Dagster's own web server is used instead, the setting `rows_url` names the viewer.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import dagster as dg

from aidsafe_dagster.settings.schema import Settings

OWN_ROWS_URL = "http://127.0.0.1:3100"
"""Where `aidsafe view` is reached unless it is told otherwise."""


def row_links(
    settings: Settings, stage: str = "", batch: str = "", *, failed: int = 0
) -> Mapping[str, Any]:
    """Return metadata that leads to the rows of a batch, and to those that failed at a stage.

    Args:
        settings: name the server.
        stage: whose failures are meant.
        batch: whose rows; empty: all.
        failed: how many failed or were left out there; without any there is no link to them.
    """
    links = {"read_the_rows": _link(settings, batch=batch)}
    if failed:
        links["read_the_failures"] = _link(settings, batch=batch, failed_at=stage)
    return links


def _link(settings: Settings, **filters: str) -> dg.UrlMetadataValue:
    server = settings.rows_url.rstrip("/")
    query = urlencode({name: value for name, value in filters.items() if value})
    return dg.MetadataValue.url(f"{server}/rows?{query}".rstrip("?"))
