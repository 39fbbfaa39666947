"""Policy-embedded chain-of-thought data by multi-agent deliberation.

From Python: `try_prompts` runs the recipe on a few prompts, `load_settings` reads the settings of a
project, and `open_lake` gives its tables as polars frames. Each is imported when it is first asked
for, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aidsafe_dagster.lake.reader import open_lake
    from aidsafe_dagster.settings.load import load_settings
    from aidsafe_dagster.tryout.api import try_prompts

__all__ = ["load_settings", "open_lake", "try_prompts"]

_HOMES = {
    "load_settings": "aidsafe_dagster.settings.load",
    "open_lake": "aidsafe_dagster.lake.reader",
    "try_prompts": "aidsafe_dagster.tryout.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
