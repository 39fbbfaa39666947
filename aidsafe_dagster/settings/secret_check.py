"""Refuses secrets among the settings.

Settings are shown, recorded and passed on, so a secret among them is refused, without showing it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets

# In capitals, so that a key that is pasted here by mistake does not pass for a name.
_VARIABLE = re.compile(r"([A-Z_][A-Z0-9_]*)?")
# The lookbehind spares "sk-" inside a word, such as a model named "risk-assessment-large".
_TOKEN = re.compile(
    r"(?<![\w/.-])(sk-[\w-]{16,}|hf_\w{16,}|gh[pousr]_\w{16,}|AKIA[A-Z0-9]{12,})"
)
"""Keys of a model provider, the Hub, a code host, an object store."""
_FREE_KEY = re.compile(
    r"\.environment\.\w*(key|token|secret|password)$"
    r"|\.extra_body\.(.+\.)?(api_?key|access_token|secret|password)$",
    re.IGNORECASE,
)
"""Tables whose keys are free: they are passed on as they are."""
# On a command line, a secret would be visible in the list of processes as well.
_OPTION = re.compile(r"--(api-key|hf-token)\b")
_ALTERNATIVES = (
    "PGPASSWORD for PostgreSQL, AWS_SECRET_ACCESS_KEY for S3, "
    "the variable of api_key_env for an endpoint"
)


def refuse_secrets(
    values: Iterable[tuple[str, Any]], origins: Mapping[str, str]
) -> None:
    """Refuse keys, tokens and passwords among the values, whatever the settings are called.

    The one exception is the password in a `journal_url` that comes from the environment.

    Args:
        values: (dotted key, value).
        origins: dotted key → where the value came from.

    Raises:
        SetupError: a value holds a secret; names the place and never the value.
    """
    for key, value in values:
        origin = origins.get(key, "settings")
        if key.endswith("_env") and not _VARIABLE.fullmatch(str(value)):
            raise SetupError(
                f"{origin}: '{key}' takes the name of an environment variable, in capitals. "
                "Its value is not such a name, and is not shown: it may be the secret itself"
            )
        may_hold_password = key == "journal_url" and origin == "environment"
        secret = _find_secret(key, str(value), may_hold_password=may_hold_password)
        if secret:
            raise SetupError(
                f"{origin}: '{key}' holds {secret}; leave it to the environment ({_ALTERNATIVES})"
            )


def _find_secret(key: str, value: str, *, may_hold_password: bool) -> str:
    """Describe the secret in a value; empty if there is none."""
    names_secret = value and _FREE_KEY.search(key)
    if names_secret or _OPTION.search(value) or _TOKEN.search(value):
        return "what looks like a key or token"
    # Such a password would escape the patterns below, which end at white space.
    if key.endswith("_url") and re.search(r"://\S*\s", value):
        return "a space or line end, which a URL cannot contain, perhaps in a password"
    if re.search(r"https?://[^/\s]*@", value):
        return "a password"
    # Even where the password itself may be in the URL, its parameters must not hold one.
    checked = value
    if may_hold_password:
        _, _, parameters = value.partition("?")
        checked = f"?{parameters}"
    # Whatever would be masked in a message is a secret.
    if mask_url_secrets(checked) != checked:
        return "a password"
    return ""
