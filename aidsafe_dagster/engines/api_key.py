"""A model server's key, from the environment variable that the settings name."""

import os

from aidsafe_dagster.recipe.errors import SetupError


def read_api_key(variable: str) -> str:
    """Return the key without surrounding white space. Empty: no key is sent.

    Raises:
        SetupError: the value cannot be a key. The message names the variable and not the value.
    """
    key = os.environ.get(variable, "").strip()
    # A line break would split the header, and clients refuse other letters with a traceback.
    if not all("!" <= character <= "~" for character in key):
        raise SetupError(
            f"{variable}: the key holds white space, control characters or letters beyond ASCII, "
            "as a copied line break or a typographic quote; set the variable to the key alone"
        )
    return key


def bearer_header(key: str) -> dict[str, str]:
    """Return the header that carries a key; no header without one."""
    return {"Authorization": f"Bearer {key}"} if key else {}
