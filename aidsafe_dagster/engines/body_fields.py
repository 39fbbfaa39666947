"""Fields of a request's body, at any depth: taken out, put in, merged."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def take(body: dict[str, Any], path: Sequence[str]) -> Any:
    """Remove and return the field at a path. None: there is none.

    Tables on the way are copied first, since they may be shared with other requests.
    """
    *tables, name = path
    for table in tables:
        inner = body.get(table)
        if not isinstance(inner, Mapping):
            return None
        copy = dict(inner)
        body[table] = copy
        body = copy
    return body.pop(name, None)


def put(body: dict[str, Any], path: Iterable[str], value: Any) -> None:
    """Set the field at a path, and the tables on the way where there are none."""
    *tables, name = path
    for table in tables:
        inner = body.get(table)
        copy = dict(inner) if isinstance(inner, Mapping) else {}
        body[table] = copy
        body = copy
    body[name] = value


def merged(body: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, of which the second wins, field by field at every level."""
    result = dict(body)
    for name, value in more.items():
        known = result.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            result[name] = merged(known, value)
        else:
            result[name] = value
    return result
