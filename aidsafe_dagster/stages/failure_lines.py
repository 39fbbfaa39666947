"""The first failures of a batch as lines of plain text, for the message of a gate.

A detail quotes models, users and servers. It may hold anything, and must not reach a terminal or a
page as anything but text.
"""

import os
import unicodedata
from collections.abc import Iterator

import polars as pl

from aidsafe_dagster.recipe.records import EXCLUSION_REASONS
from aidsafe_dagster.recipe.secret_mask import (
    mask_environment,
    mask_secret,
    mask_url_secrets,
)
from aidsafe_dagster.settings.schema import Settings

MOST_LINES = 3
MOST_CHARS = 200
"""Of one line."""
_Failed = tuple[str, str, str]
"""Prompt id, reason and detail."""


def failure_lines(failures: pl.DataFrame, settings: Settings) -> list[str]:
    """Return up to three failures as `<prompt id> <reason>: <detail>`, each reason first once.

    Rows that were left out are shown only if no row failed.

    Args:
        failures: the `Failure` rows of a partition.
        settings: name the variables whose values are masked.
    """
    is_left_out = pl.col("reason").is_in([str(reason) for reason in EXCLUSION_REASONS])
    failed = failures.filter(~is_left_out)
    shown = failed if failed.height else failures
    lines = []
    for prompt_id, reason, detail in _most_telling(shown):
        line = f"{prompt_id} {reason}: {mask_secrets(detail, settings)}"
        lines.append(plain_line(line, MOST_CHARS))
    return lines


def plain_line(text: str, most_chars: int) -> str:
    """Return text as one line without control, bidirectional and other invisible characters.

    No Markdown link, image or HTML is left in it, as the web UI may render it.
    """
    visible = "".join(_visible(character) for character in text)
    visible = visible.replace("](", "] (").replace("<", "‹").replace(">", "›")
    line = " ".join(visible.split())
    if len(line) > most_chars:
        return line[: most_chars - 1].rstrip() + "…"
    return line


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    # Line breaks and terminal controls, and what separates lines elsewhere.
    if category in ("Cc", "Zl", "Zp"):
        return " "
    # Bidirectional controls and other invisible signs, lone surrogates, private and unassigned.
    return "" if category.startswith("C") else character


def _most_telling(failures: pl.DataFrame) -> Iterator[_Failed]:
    """Yield a failure of each reason, and then others that say something else."""
    rows = list(failures.select("prompt_id", "reason", "detail").iter_rows())
    first_of_reason: dict[str, _Failed] = {}
    first_of_detail: dict[tuple[str, str], _Failed] = {}
    for row in rows:
        _, reason, detail = row
        first_of_reason.setdefault(reason, row)
        first_of_detail.setdefault((reason, detail), row)
    ordered = dict.fromkeys((*first_of_reason.values(), *first_of_detail.values()))
    yield from list(ordered)[:MOST_LINES]


def mask_secrets(text: str, settings: Settings) -> str:
    """Mask what the environment and the variables named in the settings hold as secrets."""
    variables = {settings.endpoint.api_key_env, settings.embeddings.api_key_env}
    variables |= {server.api_key_env for server in settings.servers.values()}
    variables |= {role.api_key_env for role in settings.roles.values()}
    text = mask_url_secrets(mask_environment(text))
    for variable in variables - {""}:
        text = mask_secret(text, os.environ.get(variable))
    return text
