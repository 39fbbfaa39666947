"""The templates that rows were made under, by the hash that the record of a stage has of them.

    <lake>/_templates/<hash>.jinja

So a comparison can show what was changed in a template, and not only that something was.
"""

from contextlib import suppress

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.stored_files import exists, read
from aidsafe_dagster.recipe.batch_recipe import HASH
from aidsafe_dagster.recipe.templates import Templates

_FOLDER = "_templates"


def store_templates(lake: Lake, templates: Templates, stage: str) -> None:
    """Keep the text of each template of a stage that is not there yet."""
    for digest, text in templates.texts(stage).items():
        name = _name(digest)
        if not exists(lake.root / name):
            lake.put(name, text.encode())


def read_template(lake: Lake, value: str) -> str | None:
    """Return the template of a recipe's part; None if its text was not kept.

    Args:
        lake: where rows were made under it.
        value: of the part: a hash.
    """
    with suppress(OSError, UnicodeDecodeError):
        return read(lake.root / _name(value)).decode()
    return None


def _name(value: str) -> str:
    return f"{_FOLDER}/{value.removeprefix(HASH)}.jinja"
