"""What every test session needs, wherever and however it was started."""

import os
import signal
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from aidsafe_dagster.settings.project import HOME_VARIABLE
from tests.site import NO_FAULTS, a_site, prompts_file, some_prompts


def pytest_configure() -> None:
    # A shell ignores SIGINT for a command that it starts in the background, and children inherit
    # that. Runs are cancelled by SIGINT, and several tests do so.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Nor must a test hang on the width of the terminal that it was started from.
    for name in list(os.environ):
        if name.startswith(("AIDSAFE_", "DAGSTER_")) or name in ("COLUMNS", "LINES"):
            del os.environ[name]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: what they hold may hang on the time, as a gzip header does."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def _project_of_one_test() -> Iterator[None]:
    """Undo what a command that is called in this process does: it works in its project's folder."""
    with chdir("."):
        yield
    os.environ.pop(HOME_VARIABLE, None)


@pytest.fixture(scope="session")
def finished_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed site whose only batch, mine-0001, went through all stages without a failure.

    Open a copy of it (`a_copy_of`): making a batch takes five seconds.
    """
    folder = tmp_path_factory.mktemp("finished") / "site"
    with a_site(folder, rehearsal=NO_FAULTS) as site:
        assert site.ingest(prompts_file(folder, some_prompts(10))).success
        run = site.make("mine-0001")
        assert run.success, run.error
    return folder
