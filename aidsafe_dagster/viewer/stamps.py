"""Which files a batch consists of at present: an index is made anew when they change."""

import hashlib
from collections import defaultdict

from aidsafe_dagster.lake.file_stamps import stamped_files
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import translation_tables
from aidsafe_dagster.recipe.records import BELIEF_CANDIDATES
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.sources.tables import INGESTED

_FORM = 2
"""Raised when the index gets other columns, or searches otherwise."""


def batch_stamps(lake: Lake) -> dict[str, str]:
    """Return a stamp for each batch; it changes with any of the batch's files."""
    files = defaultdict[str, list[str]](list)
    for table in (INGESTED, *STAGES, BELIEF_CANDIDATES, *translation_tables(lake)):
        for file in stamped_files(lake, table):
            files[file.batch].append(f"{table}/{file.name} {file.stamp}")
    stamps = {}
    for batch in sorted(files):
        text = "\n".join([str(_FORM), *sorted(files[batch])])
        stamps[batch] = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    return stamps
