"""Secret masking: no password, key or token is shown, logged or stored.

It is part of the recipe, below everything else, because `SetupError` masks its own message.
"""

import os
import re

MASK = "***"
SECRET_VARIABLES = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "VLLM_API_KEY",
    "AIDSAFE_API_KEY",
)
"""Environment variables whose values are masked in what other programs print."""
# The lookahead spares a port: in "//db:5432/" the digits are no password.
_PASSWORD = re.compile(r"//([^/@:\s]*):(?!\d+(?:[/\s]|$))\S*@")
_PARAMETER = re.compile(
    r"([?&][\w.-]*(?:password|secret|token|key|signature)=)[^&\s'\"]+", re.IGNORECASE
)
# A database driver splits the URL at the first "@". When the password itself contains one, the rest
# of the password shows up in the driver's message as part of the host name.
_HOST = re.compile(r'(?<=host name ")[^"\s]*@')
_SECRET_KEY = re.compile(r"(key|token|secret|password)$", re.IGNORECASE)


def mask_url_secrets(text: str) -> str:
    """Mask passwords and keys in the URLs of a text: `postgresql://me:***@db/name`."""
    text = _PASSWORD.sub(rf"//\1:{MASK}@", text)
    text = _HOST.sub(f"{MASK}@", text)
    return _PARAMETER.sub(rf"\1{MASK}", text)


def mask_secret(text: str, secret: str | None) -> str:
    """Mask every occurrence of one secret; a missing or blank secret masks nothing."""
    bare = (secret or "").strip()
    # To replace an empty text would put a mask between all letters.
    if not bare:
        return text
    return text.replace(bare, MASK)


def mask_environment(text: str) -> str:
    """Mask the values of the environment variables that hold secrets."""
    for name in SECRET_VARIABLES:
        text = mask_secret(text, os.environ.get(name))
    return text


def mask_setting(key: str, value: str) -> str:
    """Mask a setting's value where it is shown: all of it if its key names a secret.

    A key that ends in `_env` names a variable, not a secret.
    """
    # An empty value is shown as it is, so that a person can see that the secret is missing.
    if value and _SECRET_KEY.search(key):
        return MASK
    return mask_url_secrets(value)
