"""Cuts an answer to the bounds of a request's schema, which a person may have set low."""

from collections.abc import Mapping
from typing import Any

from aidsafe_dagster.engines.rehearsal.reading import abridge

_MOST_RULES = 8


def fit(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """Return JSON data with texts and lists cut to what a schema with `$defs` admits."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        fitted = {}
        for key, item in value.items():
            fitted[key] = fit(item, properties.get(key, {}), definitions)
        return fitted
    if isinstance(value, list):
        item_schema = schema.get("items", {})
        items = _cut_list(value, schema.get("maxItems", len(value)))
        return [fit(item, item_schema, definitions) for item in items]
    if isinstance(value, str) and "maxLength" in schema:
        longest = schema["maxLength"]
        short = abridge(value, longest).strip()
        # A cut between words may leave nothing but leading white space.
        return short or value[:longest]
    return value


def _cut_list(items: list[Any], most: int) -> list[Any]:
    """Return the first items; they take over the rules of the others, so no policy is lost."""
    kept = items[:most]
    for item in items[most:]:
        if isinstance(item, dict):
            for rule in item.get("rules", ()):
                _hand_over(rule, kept)
    return kept


def _hand_over(rule: str, kept: list[Any]) -> None:
    if any(rule in item["rules"] for item in kept):
        return
    for item in reversed(kept):
        if len(item["rules"]) < _MOST_RULES:
            item["rules"] = [*item["rules"], rule]
            return
