"""One typed settings object: defaults, then `aidsafe.toml`, then `AIDSAFE_*` variables, then the launchpad.

    [endpoint]                          AIDSAFE_ENDPOINT__BASE_URL=http://127.0.0.1:8000/v1
    base_url = "http://127.0.0.1:8000/v1"

Two underscores go one level down. Relative paths are relative to the settings file's folder (the current folder without
one). An unknown key is an error that names the nearest valid one. No secret is a setting: a key is named by the
environment variable that holds it.
"""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.secret_check import refuse_secrets

FILE_NAME = "aidsafe.toml"
_PREFIX = "AIDSAFE_"
_FILE_VARIABLE = "AIDSAFE_SETTINGS"


@dataclass(frozen=True)
class Loaded:
    """Settings in force, and where each value that is not a default came from (dotted key → origin)."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    overrides_from: str = "launchpad",
) -> Loaded:
    """Merges the layers and checks the result.

    Args:
        folder: where `aidsafe.toml` is looked for (default: the current folder; AIDSAFE_SETTINGS names a file instead).
        environ: the environment.
        overrides: nested values of the launchpad; they win.
        overrides_from: what messages call the place they come from.

    Raises:
        SetupError: a file that does not parse, an unknown key, or a value of the wrong kind; names file and place.
    """
    environ = os.environ if environ is None else environ
    file = Path(environ.get(_FILE_VARIABLE) or (folder or Path.cwd()) / FILE_NAME).absolute()
    layers = [
        (str(file), in_file := _read(file, required=bool(environ.get(_FILE_VARIABLE)))),
        ("environment", _from_environment(environ, named=in_file)),
        (overrides_from, dict(overrides or {})),
    ]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in layers:
        _merge(merged, values, origin)
        origins |= {key: origin for key, _ in _leaves(values)}
    refuse_secrets(_leaves(merged), origins)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise _explained(
            error, origins
        ) from None  # the cause shows values, and one of them may be a secret
    return Loaded(_with_absolute_paths(settings, file.parent), origins)


def _read(file: Path, *, required: bool) -> dict[str, Any]:
    if not file.exists() and not required:
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{file}: not a TOML file in UTF-8: {error}") from error


def _from_environment(environ: Mapping[str, str], named: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the variables: all that begin with AIDSAFE_, but for those that are named to hold a key."""
    usual = {_FILE_VARIABLE, EndpointSettings().api_key_env}
    exempt = usual | {str(value) for key, value in _leaves(named) if key.endswith("_env")}
    exempt |= {
        value
        for name, value in environ.items()
        if name.startswith(_PREFIX) and name.endswith("_ENV")
    }
    values: dict[str, Any] = {}
    for name in sorted(
        environ, key=lambda name: (name.count("__"), name)
    ):  # tables before what is in them
        if name.startswith(_PREFIX) and name not in exempt:
            *parents, leaf = name.removeprefix(_PREFIX).lower().split("__")
            nested: Any = _parsed(environ[name])
            for key in (leaf, *reversed(parents)):
                nested = {key: nested}
            _merge(values, nested, name)
    return values


def _parsed(text: str) -> object:
    """Lists and tables are written as JSON; everything else stays text, which pydantic converts."""
    if text[:1] in "[{" and text:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _merge(into: dict[str, Any], values: Mapping[str, Any], origin: str) -> None:
    for key, value in values.items():
        if not isinstance(value, Mapping):
            into[key] = value
        elif isinstance(into.setdefault(key, {}), dict):
            _merge(into[key], value, origin)
        else:
            raise SetupError(
                f"{origin}: '{key}' is already set to a plain value and cannot have settings below it"
            )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _explained(error: ValidationError, origins: Mapping[str, str]) -> SetupError:
    first = min(
        error.errors(), key=lambda e: e["type"] != "extra_forbidden"
    )  # a misspelt key explains the rest
    place = ".".join(str(part) for part in first["loc"])
    origin = next(
        (o for key, o in origins.items() if place == key or place.startswith(f"{key}.")), None
    )
    origin = origin or next(
        (o for key, o in origins.items() if key.startswith(f"{place}.")), "settings"
    )
    if first["type"] == "extra_forbidden":
        return unknown("key", place, _keys_beside(first["loc"]), origin)
    return SetupError(f"{origin}: '{place}': {first['msg']} (got {first['input']!r})")


def _keys_beside(loc: tuple[int | str, ...]) -> list[str]:
    """The valid keys at the level of an unknown one, with the same prefix as it."""
    model: type[BaseModel] = Settings
    for part in loc[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_of(model.model_fields[part].annotation)
    prefix = "".join(f"{part}." for part in loc[:-1])
    return [prefix + name for name in model.model_fields]


def _model_of(annotation: Any) -> type[BaseModel]:
    """The settings class in an annotation, be it alone or the item of a tuple."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    raise AssertionError(f"no settings class in {annotation}")


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    absolute: dict[str, Any] = {
        key: folder / getattr(settings, key).expanduser()
        for key in ("home", "policies", "prompts", "tokenizer")
        if getattr(settings, key) is not None
    }
    vllm: dict[str, Any] = {"state": folder / settings.vllm.state.expanduser()}
    if settings.vllm.model and (folder / settings.vllm.model).exists():
        vllm["model"] = str(folder / settings.vllm.model)
    absolute["vllm"] = settings.vllm.model_copy(update=vllm)
    absolute["training"] = settings.training.within(folder)
    absolute["evaluation"] = settings.evaluation.within(folder)
    if settings.lake_url and "://" not in settings.lake_url:
        absolute["lake_url"] = str(folder / Path(settings.lake_url).expanduser())
    absolute["sources"] = tuple(source.within(folder) for source in settings.sources)
    sets = tuple(spec.within(folder) for spec in settings.decontamination.sets)
    absolute["decontamination"] = settings.decontamination.model_copy(update={"sets": sets})
    absolute["embeddings"] = settings.embeddings.within(folder)
    return settings.model_copy(update=absolute)
