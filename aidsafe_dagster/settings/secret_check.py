"""Secrets where settings belong: those are shown, recorded and passed on, so a secret among them is refused unshown."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets

_VARIABLE = re.compile(r"([A-Z_][A-Z0-9_]*)?")
_TOKEN = re.compile(r"(?<![\w/.-])(sk-[\w-]{16,}|hf_\w{16,}|gh[pousr]_\w{16,}|AKIA[A-Z0-9]{12,})")
"""Of a model's provider, the Hub, a code host, an object store."""
_FREE = re.compile(
    r"\.environment\.\w*(key|token|secret|password)$|\.extra_body\.(.+\.)?(api_?key|access_token|secret|password)$",
    re.IGNORECASE,
)
"""Settings of any name, after which they are passed on."""
_OPTION = re.compile(r"--(api-key|hf-token)\b")
_ELSEWHERE = "PGPASSWORD for PostgreSQL, AWS_SECRET_ACCESS_KEY for S3, the variable of api_key_env for an endpoint"


def refuse_secrets(values: Iterable[tuple[str, Any]], origins: Mapping[str, str]) -> None:
    """Looks for keys, tokens and passwords in what was set, be it known as a setting or not.

    The one exception is the password in a `journal_url` that comes from the environment.

    Args:
        values: (dotted key, value).
        origins: dotted key → where the value came from.

    Raises:
        SetupError: there is one; names the place, and not the value.
    """
    for key, value in values:
        origin = origins.get(key, "settings")
        if key.endswith("_env") and not _VARIABLE.fullmatch(str(value)):
            raise SetupError(
                f"{origin}: '{key}' takes the name of an environment variable, in capitals. What it holds is none, and "
                "is not shown: it may be the secret itself"
            )
        if found := _secret_in(
            key, str(value), may_hold_password=key == "journal_url" and origin == "environment"
        ):
            raise SetupError(
                f"{origin}: '{key}' holds {found}; leave it to the environment ({_ELSEWHERE})"
            )


def _secret_in(key: str, value: str, *, may_hold_password: bool) -> str:
    """What is in there; empty if nothing is."""
    if (value and _FREE.search(key)) or _OPTION.search(value) or _TOKEN.search(value):
        return "what looks like a key or token"
    if key.endswith("_url") and re.search(r"://\S*\s", value):
        return "a space or line end, which a URL cannot, perhaps in a password"
    if re.search(r"https?://[^/\s]*@", value):
        return "a password"
    bare = f"?{value.partition('?')[2]}" if may_hold_password else value
    return "a password" if mask_url_secrets(bare) != bare else ""
