"""A project whose loop can be run: a model server that lists adapters, and a stand-in trainer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.commands import served_by
from tests.scripted_chat_server import ScriptedChatServer
from tests.serving import RULES, ModelServer, a_model_server
from tests.site import Site, a_site, prompts_file, some_prompts
from tests.training.sites import stand_in

ROWS = 6
BATCH = "mine-0001"


@contextmanager
def a_server(
    folder: Path, *adapters: str, faults: dict[str, Any] | None = None
) -> Iterator[ModelServer]:
    """A server that serves a base model and adapters of these names."""
    server = RULES["server"] | {"adapters": list(adapters)}
    folder.mkdir(parents=True, exist_ok=True)
    with a_model_server(folder, RULES | {"server": server}, faults) as served:
        yield served


def loop_settings(
    folder: Path, server: ModelServer | ScriptedChatServer, **settings: Any
) -> dict[str, Any]:
    """Settings of a project that trains with a stand-in, and evaluates nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    training = {"python": stand_in(folder), "model": "a-model"}
    return {
        **served_by(server),  # type: ignore[arg-type]
        "training": training,
        "splits": {"test": 0.0, "validation": 0.0},
        "evaluation": {"benchmarks": []},
        **settings,
    }


@contextmanager
def a_loop_site(
    folder: Path, server: ModelServer | ScriptedChatServer, **settings: Any
) -> Iterator[Site]:
    """A project with a batch of prompts, and no generation yet."""
    with a_site(folder, **loop_settings(folder, server, **settings)) as site:
        assert site.ingest(prompts_file(folder, some_prompts(ROWS))).success
        yield site


def files_of(folder: Path) -> Mapping[str, bytes]:
    """Return lake, adapters and reports of a project, by path."""
    files = {}
    for part in ("lake", "adapters", "reports"):
        for path in sorted((folder / "data" / part).rglob("*")):
            if path.is_file():
                files[str(path.relative_to(folder))] = path.read_bytes()
    return files
