"""Which rows a page shows, and in which order. All of it stands in the page's address."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self
from urllib.parse import urlencode

from aidsafe_dagster.viewer.batch_rows import SCORES
from aidsafe_dagster.viewer.folding import words_of

ORDERS: Mapping[str, tuple[str, str]] = {
    "": ("as ingested", "batch, place"),
    "score": ("lowest policy score first", "policy_score NULLS LAST, batch, place"),
    "best": (
        "highest policy score first",
        "policy_score DESC NULLS LAST, batch, place",
    ),
    "margin": ("smallest margin first", "margin NULLS LAST, batch, place"),
    "calls": ("most calls first", "calls DESC NULLS LAST, batch, place"),
    "cost": ("dearest first", "cost DESC NULLS LAST, batch, place"),
}
"""Name in the address → words for it, and SQL."""
_VALUES: Mapping[str, str] = {
    "batch": "batch = ?",
    "source": "source = ?",
    "state": "state = ?",
    "stage": "stage = ?",
    "kind": "prompt_kind = ?",
    "language": "language = ?",
    "category": "category = ?",
    "outcome": "outcome = ?",
    "refusal": "refusal = ?",
    "pair": "pair_kind = ?",
    "policy": "list_contains(policies, ?)",
    "verdict": "list_contains(verdicts, ?)",
    "reason": "list_contains(reasons, ?)",
    "failed_at": "list_contains(failed_stages, ?)",
    "split": "list_contains(splits, ?)",
    "translated": "list_contains(translated_into, ?)",
    "model": "list_contains(models, ?)",
}
"""Filters by one value → SQL."""
_MOST_CHARS = 1_000
"""Of a value in an address."""


@dataclass(frozen=True)
class Filters:
    """An empty value filters nothing."""

    q: str = ""
    batch: str = ""
    source: str = ""
    state: str = ""
    stage: str = ""
    kind: str = ""
    language: str = ""
    category: str = ""
    outcome: str = ""
    refusal: str = ""
    pair: str = ""
    policy: str = ""
    verdict: str = ""
    reason: str = ""
    failed_at: str = ""
    split: str = ""
    translated: str = ""
    model: str = ""
    score: str = ""
    """Which score `least` and `most` are about; empty: the policy score."""
    least: str = ""
    most: str = ""
    sort: str = ""
    page: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """Read an address; what is unknown in it filters nothing."""
        known = {field.name for field in fields(cls)}
        values = {}
        for name, value in query.items():
            if name in known:
                values[name] = value.strip()[:_MOST_CHARS]
        return cls(**values)

    @property
    def number(self) -> int:
        """The page, from 1 on."""
        is_number = self.page.isascii() and self.page.isdecimal()
        return max(1, int(self.page)) if is_number and len(self.page) < 9 else 1

    @property
    def words(self) -> tuple[str, ...]:
        return words_of(self.q)

    @property
    def order(self) -> str:
        """What follows ORDER BY."""
        return ORDERS.get(self.sort, ORDERS[""])[1]

    @property
    def active(self) -> dict[str, str]:
        """The filters that are set, without search, order and page."""
        names = (*_VALUES, "least", "most")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def address(self, **changes: Any) -> str:
        """Return the query of an address, with changes; on the first page unless it is changed."""
        changed = replace(self, **{"page": "", **changes})
        values = {}
        for field in fields(changed):
            value = getattr(changed, field.name)
            if value:
                values[field.name] = value
        return urlencode(values)

    def condition(self) -> tuple[str, list[Any]]:
        """Return an SQL condition on the table of rows, without the search, and its values."""
        conditions = ["true"]
        values: list[Any] = []
        for name, sql in _VALUES.items():
            value = getattr(self, name)
            if value:
                conditions.append(sql)
                values.append(value)
        # From our own list: an address never reaches SQL.
        score = self.score if self.score in SCORES else SCORES[0]
        for bound, sign in ((self.least, ">="), (self.most, "<=")):
            limit = _number(bound)
            if limit is not None:
                conditions.append(f"{score} {sign} ?")
                values.append(limit)
        return " AND ".join(conditions), values


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
