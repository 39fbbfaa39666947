"""Settings of publishing.

[publish]
repo = "acme/aidsafe-cot"
licence = "cc-by-nc-4.0"            # required; never more permissive than the prompts' own
[publish.licences]
"in-house terms" = "cc-by-nc-4.0"   # a licence we do not know, and the known one it amounts to
"""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from aidsafe_dagster.recipe.format_types import Reasoning, RowKind
from aidsafe_dagster.recipe.records import Record


class PublishSettings(Record):
    repo: str = Field(default="", pattern=r"^$|^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    """The dataset repository, '<owner>/<name>'; created if it does not exist."""
    licence: str = ""
    """Licence of the published dataset; required."""
    licence_link: str = ""
    """Where to read a licence that the Hub does not know."""
    licences: Mapping[str, str] = {}
    """Licence as the rows name it → the known licence it amounts to."""
    private: bool = True
    """Visibility of a new repository; an existing one keeps its own."""
    gated: Literal["auto", "manual", "off"] = "auto"
    """Whether readers must ask for access, and who grants it. The data holds harmful requests."""
    configs: tuple[RowKind, ...] = Field(default=get_args(RowKind), min_length=1)
    """Those that have rows are published."""
    reasoning: Reasoning = "inline"
    pretty_name: str = ""
    language: tuple[
        Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")], ...
    ] = ()
    """Codes of the languages on the card; none: as the prompts and responses tell."""
    tags: tuple[str, ...] = ()
    """Tags in addition to those of every such dataset."""
    shard_mb: int = Field(default=256, ge=1)
    """Maximum size of a Parquet file, before compression."""
    endpoint: str = ""
    """URL of another Hub; empty: huggingface_hub's own (HF_ENDPOINT)."""
    token_env: str = "HF_TOKEN"  # noqa: S105 - the name of a variable
    """Variable that holds the token; if empty or unset, the one `hf auth login` stored is used."""
    attempts: int = Field(default=6, ge=1)
    """Attempts per step when the Hub is busy, limits the rate or drops the connection."""
    wait_s: float = Field(default=2.0, ge=0)
    """Seconds before the second attempt; doubled for each further one."""
    max_wait_s: float = Field(default=120.0, ge=0)
    """Maximum seconds between two attempts, whatever the Hub asks for."""
    verify: bool = True
    """Download everything after the upload and compare it."""
