"""What is kept of a generation, and where it lies.

    <home>/generations/<number>/generation.json     this record
    <home>/generations/<number>/                    from 2 on, a project of its own

Generation 1 is the project itself. A later one has its own lake, adapters, reports and Dagster
instance, so nothing of an earlier one is overwritten. The journal is the project's: what was asked
in one generation is answered from there in the next.
"""

from pathlib import Path

from pydantic import Field, ValidationError

from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.settings.project import SETTINGS_FILE
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.training.generation import SpeakingAdapter

_FOLDER = "generations"
_FILE = "generation.json"


class Generation(Record):
    """A generation, as far as it has come. Its file is `generation.json`."""

    number: int = Field(ge=1)
    speaker: SpeakingAdapter | None = None
    """The adapter that speaks in it; None in the first."""
    roles: tuple[str, ...] = ()
    """Who speaks with it."""
    adapters: tuple[SpeakingAdapter, ...] = ()
    """Those that were trained in it."""
    not_evaluated: str = ""
    """Why no model was evaluated; empty if one was."""
    is_finished: bool = False

    def adapter(self, method: str) -> SpeakingAdapter | None:
        """Return the adapter that was trained by a method; None if there is none."""
        for adapter in self.adapters:
            if adapter.method == method:
                return adapter
        return None


def generation_folder(settings: Settings, number: int) -> Path:
    """Return the folder of a generation's record, of the project's settings."""
    return settings.home / _FOLDER / str(number)


def project_of(settings: Settings, number: int) -> Path | None:
    """Return the project folder of a generation; None for the first, which is the project."""
    return None if number == 1 else generation_folder(settings, number)


def lock_path(settings: Settings) -> Path:
    return settings.home / _FOLDER / "lock"


def read_generations(settings: Settings) -> list[Generation]:
    """Return the generations of a project, as far as they were begun, the first one first.

    Raises:
        SetupError: the record of one cannot be read.
    """
    folder = settings.home / _FOLDER
    generations = []
    for path in folder.glob(f"*/{_FILE}"):
        try:
            generations.append(Generation.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError) as error:
            raise SetupError(f"{path}: it cannot be read: {error}") from error
    return sorted(generations, key=lambda generation: generation.number)


def write_generation(settings: Settings, generation: Generation) -> None:
    folder = generation_folder(settings, generation.number)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / _FILE, generation.model_dump_json(indent=1) + "\n")


def find_generation(settings: Settings, number: int) -> Generation:
    """Return a generation that was begun.

    Raises:
        SetupError: there is none of that number.
    """
    generations = read_generations(settings)
    for generation in generations:
        if generation.number == number:
            return generation
    known = ", ".join(str(generation.number) for generation in generations) or "none"
    raise SetupError(f"there is no generation {number} yet; begun: {known}")


def settings_file(settings: Settings, number: int) -> Path:
    return generation_folder(settings, number) / SETTINGS_FILE
