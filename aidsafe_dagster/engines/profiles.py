"""Named profiles of model servers: what each takes, refuses and calls by another name.

A profile is a file `profiles/<name>.toml`:

    title = "OpenAI reasoning models"
    checked = 2026-11-28                    # when the facts were looked up

    [server]                                # keys of `[endpoint]`, see `engines/settings.py`
    rename = { max_tokens = "max_completion_tokens" }

    [[facts]]
    keys = ["rename"]                       # every key of [server] stands on a fact, and there may
                                            # be facts that no key expresses
    fact = "max_tokens is refused; the limit is max_completion_tokens and covers reasoning"
    source = "https://…"

What the settings say themselves wins over the profile. Prices are in none of them: they change
more often than anybody would look them up.
"""

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.records import Record

_FOLDER = Path(__file__).parent / "profiles"


class Fact(Record):
    """Something that is known about a server, and where it is written or was seen."""

    keys: tuple[str, ...]
    """Of `[server]`. Empty: worth knowing, but not to be said in settings."""
    fact: str
    source: str = Field(pattern=r"^https?://")


class Profile(Record):
    title: str
    checked: date
    server: Mapping[str, Any]
    facts: tuple[Fact, ...]


def profile_names() -> list[str]:
    """Return the names of all profiles, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_profile(name: str, where: str = "profile") -> Profile:
    """Return a profile.

    Args:
        name: of its file, without `.toml`.
        where: who asks, for the message.

    Raises:
        SetupError: there is none of that name; names the nearest one.
    """
    names = profile_names()
    if name not in names:
        raise unknown("profile", name, names, where)
    return _read(name)


@cache
def _read(name: str) -> Profile:
    text = (_FOLDER / f"{name}.toml").read_text("utf-8")
    profile = Profile.model_validate(tomllib.loads(text))
    # A profile with a key that no server has would be found only by the user who names it.
    ServerSettings.model_validate(profile.server)
    return profile
