"""A journal of ten million calls: how soon it opens and finds, before and after it is compacted."""

import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.journal_compaction import compact
from benchmarks.options import Options, Section
from benchmarks.process import memory_mb, reset_peak_memory

_CALLS = 10_000_000
_LOOKUPS = 20_000
_BYTES_A_CALL = 1_000
"""Room that a call takes while the journal is compacted, at the most and with answers as here."""
_WORDS = (
    "policy",
    "rule",
    "asks",
    "whether",
    "applies",
    "user",
    "wants",
    "harm",
    "lawful",
    "answer",
    "because",
    "therefore",
)
_INSERT = """
INSERT INTO completions (key, prompt_id, stage, role, turn, draw, model, text,
    prompt_tokens, cached_tokens, completion_tokens, seconds)
VALUES (?, ?, 'deliberated_cots', 'deliberator', ?, 0, 'simulated', ?, 900, 800, 60, 1.2)
"""


def run(options: Options) -> Section:
    calls = options.rows or _CALLS
    with tempfile.TemporaryDirectory(dir=_roomy_folder()) as folder:
        room = shutil.disk_usage(folder).free
        calls = min(calls, room // _BYTES_A_CALL)
        file = Path(folder) / "journal.sqlite"
        _fill(file, calls)
        lines = [_line("as recorded", file, calls)]
        compacted = _in_a_process("compact", file, calls)
        lines.append(_line("compacted", file, calls))
    seconds, peak_mb = compacted
    return Section(
        f"A journal of {calls:,} calls",
        f"Answers of some 160 characters. A process of its own opens the journal and looks up "
        f"{_LOOKUPS:,} keys at random, one after another.",
        (
            "journal",
            "GB",
            "opened in, s",
            "found in, µs of CPU",
            "found in, µs (median)",
            "an absent key, µs",
        ),
        lines,
        [
            f"Compacting took {seconds:.0f} s of CPU, and {peak_mb:.0f} MB of memory beyond "
            "that of the libraries.",
            "Time beyond the CPU is that of the disk, as long as the file is not in the system's "
            "cache.",
        ],
    )


def _roomy_folder() -> Path:
    """Return the folder for temporary files or the current one, whichever has more room."""
    places = (Path(tempfile.gettempdir()), Path.cwd())
    return max(places, key=lambda place: shutil.disk_usage(place).free)


def _fill(file: Path, calls: int) -> None:
    Journal(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        # It is made anew if the machine stops meanwhile.
        database.execute("PRAGMA synchronous=OFF")
        # Keys are hashes. In their own order they fill the index page after page.
        database.execute("BEGIN")
        database.executemany(_INSERT, _entries(calls))
        database.execute("COMMIT")


def _entries(calls: int) -> Iterator[tuple[object, ...]]:
    draw = random.Random(1)
    for number in range(calls):
        words = " ".join(draw.choices(_WORDS, k=18))
        text = f'{{"thought": "{words}", "rules": ["illegal.{number % 9}"]}}'
        yield _key(number, calls), f"p{number // 20:015}", number % 20, text


def _key(number: int, calls: int) -> str:
    """Return a key that rises with the number and has the length of a hash."""
    return f"{(number << 128) // calls:032x}"


def _line(name: str, file: Path, calls: int) -> tuple[object, ...]:
    size = file.stat().st_size / 1e9
    opened, cpu, found, absent = _in_a_process("find", file, calls)
    return (
        name,
        f"{size:.2f}",
        f"{opened:.2f}",
        f"{cpu:.0f}",
        f"{found:.0f}",
        f"{absent:.0f}",
    )


def _in_a_process(task: str, file: Path, calls: int) -> list[float]:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.journal", task, str(file), str(calls)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return [float(figure) for figure in process.stdout.split()]


def _find(file: Path, calls: int) -> list[float]:
    """Return seconds to open, then µs a look-up: CPU, median of those there, of those absent."""
    started = time.perf_counter()
    journal = Journal(f"sqlite:///{file}")
    opened = time.perf_counter() - started
    draw = random.Random(2)
    numbers = [draw.randrange(calls) for _ in range(_LOOKUPS)]
    with closing(journal):
        cpu = time.process_time()
        present = _lookup_times(journal, [_key(number, calls) for number in numbers])
        cpu = time.process_time() - cpu
        keys = [f"{draw.getrandbits(128):032x}" for _ in numbers]
        absent = _lookup_times(journal, keys)
    return [
        opened,
        1e6 * cpu / _LOOKUPS,
        1e6 * median(present),
        1e6 * median(absent),
    ]


def _lookup_times(journal: Journal, keys: list[str]) -> list[float]:
    times = []
    for key in keys:
        started = time.perf_counter()
        journal.find(key)
        times.append(time.perf_counter() - started)
    return times


def _compact(file: Path) -> list[float]:
    """Return the CPU seconds of a compaction, and what it adds to the peak memory, in MB."""
    reset_peak_memory()
    before_mb = memory_mb("VmRSS")
    cpu_s = time.process_time()
    compact(f"sqlite:///{file}", _ignore)
    return [time.process_time() - cpu_s, memory_mb("VmHWM") - before_mb]


def _ignore(done: int, total: int) -> None:
    pass


if __name__ == "__main__":
    task, name, count = sys.argv[1:]
    if task == "find":
        print(*_find(Path(name), int(count)))
    else:
        print(*_compact(Path(name)))
