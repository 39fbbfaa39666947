"""The site of a chaos run: its settings, its prompts, its disk and its processes."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.model import Model
from tests.faults.commands import AIDSAFE, LENIENT, SLOTS, kill_all_of
from tests.site import environment, prepare, prompts_file, some_prompts

KEY = "sk-chaos-zqmk-4f19d2"
"""The API key that must not be found anywhere afterwards."""
Process = subprocess.Popen[str]


@dataclass(frozen=True)
class Size:
    """How much is made: batches of each of two sources, and prompts of a batch."""

    batches: int
    prompts: int


@dataclass
class ChaosSite:
    """A project folder in which commands are run."""

    base: Path
    """Holds what is not the site's own: what commands print."""
    model: Model
    disk: Path | None
    """The small disk that the site is on; None: it is on that of the machine."""
    commands: list[Process] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return (self.disk or self.base) / "site"

    @property
    def printed(self) -> str:
        return (self.base / "printed").read_text(errors="replace")

    @property
    def batches(self) -> list[str]:
        """The batches that are ingested."""
        folders = (self.folder / "data" / "lake" / "ingested").glob("batch=*")
        return sorted(folder.name.removeprefix("batch=") for folder in folders)

    def start(self, *arguments: str) -> Process:
        """Start a command of ours; what it prints goes into a file beside the site."""
        with (self.base / "printed").open("a") as printed:
            process = subprocess.Popen(
                [*AIDSAFE, *arguments],
                cwd=self.folder,
                env=environment(self.folder, AIDSAFE_API_KEY=KEY),
                stdout=printed,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.commands.append(process)
        return process

    def living(self) -> list[Process]:
        """Return the commands that have not ended."""
        self.commands = [one for one in self.commands if one.poll() is None]
        return self.commands

    def settle(self) -> None:
        """Kill whatever of the site is left, and reap it."""
        kill_all_of(self.folder)
        for process in self.commands:
            process.wait(30)
        self.commands.clear()


def write_settings(site: ChaosSite, size: Size, *, is_other: bool) -> None:
    """Replace the settings file, as an editor does; the other settings make other texts."""
    beside = site.base / "settings"
    prepare(beside, **_settings(site.model, size, is_other=is_other))
    file = site.folder / "aidsafe.toml"
    temporary = file.with_name(".aidsafe.toml.new")
    temporary.write_bytes((beside / "aidsafe.toml").read_bytes())
    temporary.replace(file)


def fill(site: ChaosSite, size: Size) -> None:
    """Write settings, and two files of prompts: `first` and `second`."""
    prepare(site.folder, **_settings(site.model, size, is_other=False))
    count = size.batches * size.prompts
    prompts = some_prompts(2 * count)
    prompts_file(site.folder, prompts[:count], "first")
    prompts_file(site.folder, prompts[count:], "second")


def _settings(model: Model, size: Size, *, is_other: bool) -> dict[str, Any]:
    driver = {"calls_in_flight": SLOTS, "backoff_s": 0.05, "max_backoff_s": 0.2}
    endpoint = {
        "base_url": model.server.base_url,
        "model": "fake-model",
        "timeout_s": 20,
    }
    return {
        "engine": "endpoint",
        "endpoint": endpoint,
        "driver": driver,
        "checks": LENIENT,
        "ingest": {"batch_size": size.prompts},
        "deliberation": {"max_rounds": 2 if is_other else 3},
    }
