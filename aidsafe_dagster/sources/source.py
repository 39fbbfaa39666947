"""Settings of a source of prompts.

    [[sources]]
    name = "beavertails"                # part of partition keys and file names
    preset = "beavertails"              # or path = "prompts.csv", or hub = "<owner>/<dataset>"
    limit = 5000

Only the form is checked here. Whether the file, the dataset and its columns exist is checked when
the source is read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.sources.delimiters import NAMES
from aidsafe_dagster.sources.encodings import is_codec_of_text
from aidsafe_dagster.sources.presets import PRESETS, Preset
from aidsafe_dagster.sources.rows import FileForm
from aidsafe_dagster.sources.transcripts import WhichTurn

SAMPLES = Path(__file__).parent.parent / "samples"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class ColumnMapping(Record):
    """Names of the columns in the source. None: the usual names are tried."""

    prompt: Name | None = None
    category: Name | None = None
    licence: Name | None = None
    id: Name | None = None
    """Kept as `own_id`. No column is taken for it by its name."""
    response: Name | None = None
    """The source's own answer, kept as `original_response`."""


class FileOrDataset(Record):
    """Rows of a file or a folder of files (`path`), or of a dataset on the Hub (`hub`, or the
    dataset of the preset)."""

    kind: ClassVar[str]
    """What messages call such a setting."""
    presets: ClassVar[Mapping[str, Preset]]

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$")]
    path: Path | None = None
    hub: Name | None = Field(
        default=None,
        description="id of a dataset repository on the Hub, '<owner>/<dataset>'",
    )
    preset: Name | None = Field(
        default=None, description="name of a known dataset, for its columns and licence"
    )
    revision: Name = Field(
        default="main",
        description="branch, tag or commit on the Hub; the commit is recorded",
    )
    files: Name | None = Field(
        default=None,
        description="glob of the files in the Hub dataset or folder; default: all that hold rows "
        "of this source",
    )
    delimiter: str | None = Field(
        default=None,
        description="what separates the fields of a CSV file: one character, or tab, comma, "
        "semicolon, pipe; default: found out",
    )
    encoding: Name | None = Field(
        default=None, description="encoding of the text; default: found out"
    )
    limit: int | None = Field(
        default=None, ge=1, description="maximum number of rows to read, good or bad"
    )

    @field_validator("preset")
    @classmethod
    def _is_known(cls, preset: str | None) -> str | None:
        if preset is not None and preset not in cls.presets:
            raise ValueError(
                f"unknown preset '{preset}'. Valid: {', '.join(sorted(cls.presets))}"
            )
        return preset

    @field_validator("delimiter")
    @classmethod
    def _is_one_character(cls, delimiter: str | None) -> str | None:
        if delimiter is None:
            return None
        by_name = {name: character for character, name in NAMES.items()}
        character = by_name.get(delimiter.lower(), delimiter).replace("\\t", "\t")
        if len(character) != 1 or character in '"\r\n ':
            raise ValueError(
                f"'{delimiter}' is no delimiter: give one character, or one of "
                f"{', '.join(by_name)}"
            )
        return character

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, encoding: str | None) -> str | None:
        if encoding is not None and not is_codec_of_text(encoding):
            raise ValueError(
                f"unknown encoding '{encoding}'. Such as: utf-8, utf-16, cp1252, cp1251, cp1250, "
                "shift_jis, gb18030, big5, euc_kr, mac_roman"
            )
        return encoding

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if self.path and self.hub:
            raise ValueError(
                "give either 'path' (a file) or 'hub' (a dataset on the Hub), not both"
            )
        if not self.path and not self.dataset:
            raise ValueError("give 'path' (a file) or 'hub' (a dataset on the Hub)")
        # They would have no effect, so the user must have meant something else.
        if self.path and self.revision != "main":
            raise ValueError("'revision' belongs to 'hub'; a 'path' has none")
        return self

    @property
    def form(self) -> FileForm:
        """What the source says of the text of its files."""
        return FileForm(self.delimiter, self.encoding)

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"

    def within(self, folder: Path) -> Self:
        """Return a copy whose path is resolved against the folder."""
        if self.path is None:
            return self
        path = folder / self.path.expanduser()
        return self.model_copy(update={"path": path})

    @property
    def shape(self) -> Preset | None:
        """The preset, if one is named."""
        return self.presets[self.preset] if self.preset else None

    @property
    def dataset(self) -> str | None:
        """Id of the Hub dataset; None for a file."""
        # A preset may be named for its columns alone, beside a path.
        if self.path:
            return None
        if self.shape:
            return self.hub or self.shape.hub
        return self.hub

    @property
    def glob(self) -> str | None:
        """Glob of the files in the Hub dataset; None for all data files."""
        if self.shape:
            return self.files or self.shape.files
        return self.files


class SourceSpec(FileOrDataset):
    """One source of prompts."""

    kind: ClassVar[str] = "source"
    presets: ClassVar[Mapping[str, Preset]] = PRESETS

    columns: ColumnMapping = ColumnMapping()
    licence: Name | None = Field(
        default=None,
        description="licence of all rows, unless a licence column is mapped",
    )
    turn: WhichTurn = Field(
        default="conversation",
        description="what is taken of a chat transcript: the conversation up to the user's last "
        "turn, or the first or last of the user's turns alone",
    )


def bundled_sources() -> tuple[SourceSpec, ...]:
    """Return the sample prompts of the package, one source per file.

    Each row carries its own licence.
    """
    files = sorted(SAMPLES.glob("*.jsonl"))
    return tuple(SourceSpec(name=file.stem, path=file) for file in files)
