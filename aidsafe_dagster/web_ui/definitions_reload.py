"""Reloads the definitions of a web server when policies, templates or settings are saved.

Dagster compares each batch's code version with that of the definitions, and those are read when the
code location is loaded. Without a reload the web UI goes on calling batches up to date after a
policy has changed.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.snapshot import take_snapshot

LOOK_EVERY_S = 2.0
_Signature = frozenset[tuple[Path, int, int]]
logger = logging.getLogger(__name__)


class RecipeWatch:
    """Tells whether the recipe in force is another one than at the latest look.

    Files are read only after one of them has changed. One that cannot be read, perhaps half saved,
    is told once and waited for.
    """

    def __init__(self) -> None:
        self._signature: _Signature = frozenset()
        self._hash = ""
        self.has_changed()

    def has_changed(self) -> bool:
        """Look at the files."""
        try:
            loaded = load_settings()
            settings = loaded.settings
            files = [
                loaded.file,
                *settings.policies.glob("*.toml"),
                *settings.prompts.rglob("*.jinja"),
            ]
            signature = frozenset(_stamps(files))
            if signature == self._signature:
                return False
            self._signature = signature
            snapshot = take_snapshot(settings)
            _ = snapshot.policies, snapshot.templates
        except SetupError as error:
            logger.warning("The definitions stay as they are: %s", error)
            return False
        before, self._hash = self._hash, snapshot.hash
        return before not in ("", self._hash)


@contextmanager
def reloads_definitions(reload: Callable[[], None]) -> Iterator[None]:
    """Call a function whenever the recipe in force has changed, while the block lasts."""
    is_over = threading.Event()
    watch = RecipeWatch()

    def look() -> None:
        while not is_over.wait(LOOK_EVERY_S):
            if watch.has_changed():
                reload()
                logger.warning(
                    "The recipe has changed: definitions reloaded. Batches of another recipe are "
                    "marked as unsynced in Partitions, and by `aidsafe status`."
                )

    thread = threading.Thread(target=look, name="definitions reload", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _stamps(files: list[Path]) -> Iterator[tuple[Path, int, int]]:
    for file in files:
        try:
            status = file.stat()
        except OSError:
            # It is being replaced, or there is none.
            continue
        yield file, status.st_mtime_ns, status.st_size
