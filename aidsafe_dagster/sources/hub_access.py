"""How to reach the Hub; apart from the client, which takes long to import."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class HubAccess:
    """How to reach the Hub. None: the defaults of huggingface_hub."""

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    cache: Path | None = None
