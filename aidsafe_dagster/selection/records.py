"""The records of a selection: what became of each row and why, and what they add up to."""

from typing import Literal

from pydantic import Field

from aidsafe_dagster.recipe.records import PromptKind, Record

Status = Literal["chosen", "below_floor", "same_meaning", "no_share", "surplus"]


class SelectionRow(Record):
    """What became of one SFT row of the train split."""

    prompt_id: str
    batch: str
    source: str
    prompt_kind: PromptKind
    language: str = Field(
        description="code; 'unknown' where it cannot be told, empty where nobody looked"
    )
    policy: str = Field(
        description="the rarest of the policies that apply; the row counts under it"
    )
    quality: float | None = Field(
        description="1 to 5: mean of the six metrics over the judges; null without a grade"
    )
    difficulty: float | None = Field(
        description="0 to 1: mean of what is known of target, agents and judges"
    )
    hardness: str = Field(description="the same in words")
    neighbourhood: int = Field(
        description="rows with the same number mean something alike"
    )
    status: Status
    rank: int | None = Field(description="1-based place among the chosen ones")
    like: str = Field(
        description="prompt id of the chosen row that stands for it; empty if none does"
    )
    similarity: float | None = Field(
        description="0 to 1: cosine with that row, where they count as the same"
    )
    drawn: bool = Field(
        description="in the random draw of the same size, for comparison"
    )
    why: str


class BatchMark(Record):
    batch: str
    fingerprint: str = Field(description="of its fine-tune rows")


class Count(Record):
    what: str
    rows: int


class ShareLine(Record):
    """The rows of one value of a property."""

    dimension: str
    value: str
    eligible: int = Field(description="rows above the floor")
    due: float = Field(
        description="rows that the settings ask for, as far as there are"
    )
    chosen: int
    drawn: int


class SideFigures(Record):
    """What a set of rows is worth."""

    name: str
    rows: int
    quality: float | None
    quality_low: float | None
    quality_high: float | None
    below_floor: int
    difficulty: float | None
    difficulty_low: float | None
    difficulty_high: float | None
    neighbourhoods: int = Field(description="that have a row in it")
    same_meaning: int | None = Field(
        description="rows that mean the same as an earlier one; null where nobody looked"
    )
    off_shares: float = Field(
        description="0 to 1: share of the rows to exchange for the shares as set, mean of the "
        "properties"
    )


class SelectionFacts(Record):
    """What a selection was made from, and what it adds up to. Written after its rows."""

    version: str = Field(description="hash of the chosen rows in their order")
    rows_key: str = Field(description="hash of all rows, by which they are stored")
    wanted: int
    chosen: int
    meaning: str = Field(description="what tells meanings apart")
    threshold: float
    neighbourhoods: int
    seed: int
    settings: str = Field(description="as JSON")
    simulated: bool
    batches: tuple[BatchMark, ...]
    accounts: tuple[Count, ...] = Field(
        description="where the prompts of these batches went; they add up to the first"
    )
    shares: tuple[ShareLine, ...]
    sides: tuple[SideFigures, ...] = Field(
        description="the selection, a random draw of its size, and all rows"
    )
