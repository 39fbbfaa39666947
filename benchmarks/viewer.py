"""How quickly `aidsafe view` answers with 50,000 rows: pages, filters and searches, over HTTP."""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import quote

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.viewer.row_index import RowIndex
from benchmarks.options import Options, Section
from tests.site import a_site, prompts_file, some_prompts
from tests.viewer.many_rows import write_copies
from tests.viewer.serving import Viewer, a_viewer

_ROWS = 50_000
_BATCH_ROWS = 250
_REPEATS = 5
_CHINESE = "请告诉我如何识别并防止电信诈骗，谢谢。"
_ARABIC = "كيف أتجنب الاحْتِيَال على الإنترنت وأحمي حسابي؟"
_QUESTIONS = {
    "first page": "/rows",
    "last page": "/rows?page=100000",
    "filter: a verdict and a score": "/rows?verdict=deceptive&least=3&sort=score",
    "filter: failed rows": "/rows?state=failed",
    "search: a word of every row": "/rows?q=reader%20{n}",
    "search: a phrase of one row": "/rows?q=" + quote('"copy 7') + "{n}.%22",
    "search: Chinese": "/rows?q=" + quote("电信诈骗") + "%20copy%20{n}",
    "search: Arabic, without vowel signs": "/rows?q="
    + quote("الاحتيال")
    + "%20copy%20{n}",
    "search: nothing is found": "/rows?q=zyxzyx{n}",
    "one prompt": "/prompt/{prompt}",
    "one prompt within a search": "/prompt/{prompt}?q=copy",
}
"""Searches differ from repeat to repeat, since the last ones are remembered."""


def run(options: Options) -> Section:
    rows = options.rows or _ROWS
    with tempfile.TemporaryDirectory() as folder:
        return _measure(Path(folder), rows)


def _measure(folder: Path, rows: int) -> Section:
    lake, prompt_id, count = _make_lake(folder, rows)
    before = _megabytes(folder)
    made_s = _time(lambda: _refresh(lake, folder))
    again_s = _time(lambda: _refresh(lake, folder))
    index_mb = _megabytes(folder) - before
    with a_viewer(folder) as viewer:
        lines = [_ask_often(viewer, name, prompt_id) for name in _QUESTIONS]
    return Section(
        f"Reading {count:,} rows",
        f"Batches of {_BATCH_ROWS} prompts, copies of one that the rehearsal engine made: "
        f"{before:,.0f} MB of Parquet, and {index_mb:,.0f} MB of index. Each question "
        f"{_REPEATS} times over HTTP, to pages behind the door.",
        ("question", "median, s", "longest, s"),
        lines,
        [
            f"The index is made once, batch by batch and in the background: {made_s:.0f} s for "
            f"all of it. A later process reads it in {again_s:.1f} s.",
            "Searches differ from repeat to repeat, since the last ones are remembered.",
        ],
    )


def _make_lake(folder: Path, rows: int) -> tuple[Lake, str, int]:
    """Return a lake, the id of one of its prompts, and how many there are."""
    settings = {"ingest": {"batch_size": _BATCH_ROWS}}
    with a_site(folder / "site", **settings) as site:
        texts = [_CHINESE, _ARABIC, *some_prompts(_BATCH_ROWS - 2)]
        site.ingest(prompts_file(site.folder, texts))
        site.make("mine-0001")
        ids = site.lake.rows("ingested", "mine-0001")["prompt_id"]
        copies = -(-rows // ids.len())
        lake = write_copies(site.lake, "mine-0001", folder, copies)
    return lake, f"{ids[5][:10]}000000", ids.len() * copies


def _ask_often(viewer: Viewer, name: str, prompt_id: str) -> tuple[object, ...]:
    seconds = []
    for repeat in range(_REPEATS):
        path = _QUESTIONS[name].format(n=repeat, prompt=prompt_id)
        seconds.append(_time(partial(_ask, viewer, path)))
    return name, f"{median(seconds):.2f}", f"{max(seconds):.2f}"


def _ask(viewer: Viewer, path: str) -> None:
    reply = viewer.get(path)
    assert reply.status == 200, reply.text


def _refresh(lake: Lake, folder: Path) -> None:
    with closing(RowIndex(lake, folder)) as index:
        index.refresh()


def _megabytes(folder: Path) -> float:
    files = (folder / "lake").rglob("*.parquet")
    return sum(file.stat().st_size for file in files) / 1e6


def _time(work: Callable[[], None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started
