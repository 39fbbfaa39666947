"""Loading: defaults, then `aidsafe.toml`, then `AIDSAFE_*` variables, then the launchpad.

    [endpoint]                          AIDSAFE_ENDPOINT__BASE_URL=http://127.0.0.1:8000/v1
    base_url = "http://127.0.0.1:8000/v1"

Two underscores go one level down. Relative paths are relative to the folder of the settings file,
or to the project's folder without one (`project.py`). An unknown key is an error that names the
nearest valid one. No secret is a setting: a key is named by the environment variable that holds it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from aidsafe_dagster.engines.profiles import load_profile
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.toml_text import parse_toml, quote_key
from aidsafe_dagster.settings.project import (
    SETTINGS_FILE,
    SETTINGS_VARIABLE,
    find_project,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.secret_check import refuse_secrets

_PREFIX = "AIDSAFE_"


@dataclass(frozen=True)
class Loaded:
    """Settings in force, and where each value that is not a default came from."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted key → origin."""
    file: Path
    """The settings file, which need not exist."""


def load_settings(
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    overrides_from: str = "launchpad",
) -> Loaded:
    """Merge the layers and check the result.

    Args:
        folder: where `aidsafe.toml` is looked for (default: the folder of the project, see
            `project.find_project`). AIDSAFE_SETTINGS names a file instead.
        environ: the environment (default: that of the process).
        overrides: nested values of the launchpad; they win.
        overrides_from: name of their origin in messages.

    Raises:
        SetupError: a file that does not parse, an unknown key, or a value of the wrong type; names
            file and place. Or there is more than one project to choose from.
    """
    if environ is None:
        environ = os.environ
    file_in_environment = environ.get(SETTINGS_VARIABLE)
    if file_in_environment:
        file = Path(file_in_environment).absolute()
    else:
        folder = folder or find_project(environ=environ).folder
        file = (folder / SETTINGS_FILE).absolute()
    # A project can do without a file, but a file that somebody named has to exist.
    file_values = _read(file, required=bool(file_in_environment))
    # From the weakest to the strongest.
    layers = [
        (str(file), file_values),
        ("environment", _values_from_environment(environ, file_values)),
        (overrides_from, dict(overrides or {})),
    ]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in layers:
        _merge(merged, values, origin)
        for key, _ in _leaves(values):
            origins[key] = origin
    _add_profiles(merged, origins)
    # Before validation, whose messages would show the value.
    refuse_secrets(_leaves(merged), origins)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        # The cause shows values, and one of them may be a secret.
        raise _setup_error(error, origins, file) from None
    return Loaded(_with_absolute_paths(settings, file.parent), origins, file)


def default_settings(folder: Path) -> Settings:
    """Return the settings of a project whose file says nothing."""
    return _with_absolute_paths(Settings(), folder)


def setting_variables(file: Path, environ: Mapping[str, str]) -> list[str]:
    """Return the names of environment variables that are settings, or name their file.

    Raises:
        SetupError: the settings file does not parse.
    """
    file_values = _read(file, required=False)
    names = _setting_variables(environ, file_values)
    return [*names, SETTINGS_VARIABLE] if SETTINGS_VARIABLE in environ else names


def _add_profiles(merged: dict[str, Any], origins: dict[str, str]) -> None:
    """Put the values of the named profiles where the settings themselves say nothing."""
    for place, server in _servers(merged):
        name = server.get("profile")
        # Whatever else is wrong with the value, validation will say.
        if not isinstance(name, str) or not name:
            continue
        key = f"{place}.profile"
        where = f"{_origin_of(key, origins)}: '{key}'"
        profile = load_profile(name, where).server
        own = deepcopy(server)
        server.clear()
        _merge(server, deepcopy(dict(profile)), place)
        _merge(server, own, place)
        _clear_empty_tables(server, own)
        for key, _ in _leaves(server, f"{place}."):
            origins.setdefault(key, f"profile {name}")


def _servers(merged: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables that may name a profile, each with its place."""
    endpoint = merged.get("endpoint")
    if isinstance(endpoint, dict):
        yield "endpoint", endpoint
    servers = merged.get("servers")
    if not isinstance(servers, dict):
        return
    for name, server in servers.items():
        if isinstance(server, dict):
            yield f"servers.{name}", server


def _clear_empty_tables(server: dict[str, Any], own: Mapping[str, Any]) -> None:
    """Let `rename = {}` take back what the profile renames: merging alone would keep it."""
    for key, value in own.items():
        if value == {}:
            server[key] = {}


def _read(file: Path, *, required: bool) -> dict[str, Any]:
    if not file.exists() and not required:
        return {}
    # Editors on Windows put a byte order mark first, which TOML does not know.
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"{file}: not a TOML file in UTF-8: {error}") from error
    return parse_toml(text, str(file))


def _values_from_environment(
    environ: Mapping[str, str], file_values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings among the variables: all `AIDSAFE_*` but those that hold a key."""
    names = _setting_variables(environ, file_values)
    # Fewer underscores first, so that a whole table comes before single keys in it.
    names.sort(key=lambda name: (name.count("__"), name))
    values: dict[str, Any] = {}
    for name in names:
        path = name.removeprefix(_PREFIX).lower().split("__")
        nested: Any = _parse_value(environ[name])
        # From the inside out: the last part of the name is the innermost key.
        for key in reversed(path):
            nested = {key: nested}
        _merge(values, nested, name)
    return values


def _setting_variables(
    environ: Mapping[str, str], file_values: Mapping[str, Any]
) -> list[str]:
    key_variables = _key_variables(environ, file_values)
    names = []
    for name in environ:
        if name.startswith(_PREFIX) and name not in key_variables:
            names.append(name)
    return names


def _key_variables(
    environ: Mapping[str, str], file_values: Mapping[str, Any]
) -> set[str]:
    """Return the names of variables that are no settings: they hold keys, or name the file."""
    names = {SETTINGS_VARIABLE, EndpointSettings().api_key_env}
    # A setting that ends in `_env` names a variable that holds a key, in the file or out of it.
    for key, value in _leaves(file_values):
        if key.endswith("_env"):
            names.add(str(value))
    for name, value in environ.items():
        if name.startswith(_PREFIX) and name.endswith("_ENV"):
            names.add(value)
    return names


def _parse_value(text: str) -> object:
    """Parse lists and tables, which are written as JSON; pydantic converts everything else."""
    if not text.startswith(("[", "{")):
        return text
    # A text that merely begins with a bracket is a text, as a password or a pattern may.
    try:
        return json.loads(text)
    except ValueError:
        return text


def _merge(target: dict[str, Any], values: Mapping[str, Any], origin: str) -> None:
    for key, value in values.items():
        if not isinstance(value, Mapping):
            target[key] = value
            continue
        # Tables are merged key by key, so a layer need not repeat what it does not change.
        below = target.setdefault(key, {})
        if not isinstance(below, dict):
            raise SetupError(
                f"{origin}: '{key}' is already set to a plain value, so no setting can be below it"
            )
        _merge(below, value, origin)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys with their values."""
    for key, value in values.items():
        # An empty table is a value too: it sets a table of free keys to nothing.
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _setup_error(
    error: ValidationError, origins: Mapping[str, str], file: Path
) -> SetupError:
    # A misspelt key comes first, because it often explains the other errors.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    path = first["loc"]
    place = ".".join(map(str, path))
    origin = _origin_of(place, origins)
    is_in_file = origin == str(file)
    line = quote_key(file.read_text("utf-8-sig"), path) if is_in_file else ""
    if first["type"] == "extra_forbidden":
        error_of_key = unknown("key", place, _sibling_keys(path), origin)
        return SetupError(f"{error_of_key}{line}")
    # Pydantic says whose exception it was.
    message = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    # A whole table is in the file, below the line that is quoted.
    got = "" if isinstance(value, Mapping) else f" (got {value!r})"
    return SetupError(f"{origin}: '{place}': {message}{got}{line}")


def _origin_of(place: str, origins: Mapping[str, str]) -> str:
    """Return where the value at a place came from, or a value above or below it."""
    for key, origin in origins.items():
        if place == key or place.startswith(f"{key}."):
            return origin
    # A mistake of a whole table, such as two values that exclude each other, is above its keys.
    for key, origin in origins.items():
        if key.startswith(f"{place}."):
            return origin
    return "settings"


def _sibling_keys(loc: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys at the level of an unknown one, with the same prefix."""
    model: type[BaseModel] = Settings
    parents = loc[:-1]
    for part in parents:
        # The other parts are positions in a list, or free keys of a table.
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            model = _settings_class(annotation)
    prefix = "".join(f"{part}." for part in parents)
    return [prefix + name for name in model.model_fields]


def _settings_class(annotation: Any) -> type[BaseModel]:
    """Return the settings class in an annotation, whether alone or as the item of a tuple."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    raise AssertionError(f"no settings class in {annotation}")


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """Return the settings with every relative path taken as relative to `folder`."""
    sources = [source.within(folder) for source in settings.sources]
    sets = [spec.within(folder) for spec in settings.decontamination.sets]
    decontamination = settings.decontamination.model_copy(update={"sets": tuple(sets)})
    changes: dict[str, Any] = {
        "vllm": _vllm_within(settings.vllm, folder),
        "training": settings.training.within(folder),
        "evaluation": settings.evaluation.within(folder),
        "sources": tuple(sources),
        "decontamination": decontamination,
        "embeddings": settings.embeddings.within(folder),
        "counterfactuals": settings.counterfactuals.within(folder),
        "launchpad": settings.launchpad.within(folder),
    }
    # `folder / path` is the path itself where that is absolute.
    for key in ("home", "policies", "prompts", "tokenizer"):
        path = getattr(settings, key)
        if path is not None:
            changes[key] = folder / path.expanduser()
    # The lake may be an object store. Without a scheme, it is a path like the others.
    if settings.lake_url and "://" not in settings.lake_url:
        lake_folder = Path(settings.lake_url).expanduser()
        changes["lake_url"] = str(folder / lake_folder)
    return settings.model_copy(update=changes)


def _vllm_within(vllm: VLLMSettings, folder: Path) -> VLLMSettings:
    state = folder / vllm.state.expanduser()
    changes: dict[str, Any] = {"state": state}
    # A model is a folder if there is one of that name, else an id on the Hub.
    if vllm.model:
        model_folder = folder / vllm.model
        if model_folder.exists():
            changes["model"] = str(model_folder)
    adapters = {}
    for name, adapter in vllm.lora_adapters.items():
        adapter_folder = folder / Path(adapter).expanduser()
        adapters[name] = str(adapter_folder) if adapter_folder.exists() else adapter
    changes["lora_adapters"] = adapters
    # A bare name is looked up in PATH.
    if "/" in vllm.python:
        changes["python"] = str(folder / Path(vllm.python).expanduser())
    return vllm.model_copy(update=changes)
