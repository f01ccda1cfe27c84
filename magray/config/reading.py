"""Read configs from YAML, and report what is wrong with one in one line."""

import difflib
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from magray.config.design import DesignedConfig
from magray.config.figure import FigureConfig
from magray.config.project import Config
from magray.config.protocols import ProtocolsConfig
from magray.config.scale_cues import ScaleCuesConfig
from magray.config.search import SearchConfig
from magray.config.strict_yaml import MAX_CHARACTERS, lines, parse
from magray.errors import UserError, shortened
from magray.files.remote import is_url, open_url

_Model = TypeVar("_Model", bound=BaseModel)
_Read = TypeVar("_Read")
_Place = tuple[str | int, ...]  # of a value: its key and those of the sections around it


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read the config in the YAML file `path`, or at a URL, changed by `overrides` such as "campaign.films=12".

    Raises UserError, one line that names the file and the key, unless it is a complete and possible project.
    """
    return _load(path, lambda text: read_config(text, overrides))


def load_films(path: str | Path, overrides: Sequence[str] = ()) -> Config | DesignedConfig:
    """Read the config of a project whose films are those of a campaign or of a design.

    Raises UserError as `load_config`.
    """
    return _load(path, lambda text: read_films(text, overrides))


def load_figure(path: str | Path) -> FigureConfig:
    """Read the config of a figure. Raises UserError as `load_config`."""
    return _load(path, lambda text: _validated(FigureConfig, text))


def load_search(path: str | Path, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read the config of a search, changed by `overrides` such as "trials=12". Raises UserError as `load_config`."""
    return _load(path, lambda text: _validated(SearchConfig, text, overrides))


def load_protocols(path: str | Path, overrides: Sequence[str] = ()) -> ProtocolsConfig:
    """Read the config of a protocol study, changed by `overrides`. Raises UserError as `load_config`."""
    return _load(path, lambda text: _validated(ProtocolsConfig, text, overrides))


def load_scale_cues(path: str | Path) -> ScaleCuesConfig:
    """Read the config of a study of scale cues. Raises UserError as `load_config`."""
    return _load(path, lambda text: _validated(ScaleCuesConfig, text))


def load_mapping(path: str | Path) -> dict[str, Any]:
    """Read the keys and values of a YAML file that is no config of a stage. Raises UserError as `load_config`."""
    return _load(path, _keys_and_values)


def read_config(text: str, overrides: Sequence[str] = ()) -> Config:
    """Return the config in YAML `text`, changed by `overrides`. Raises UserError as `load_config`."""
    content = _overridden(text, overrides)
    if "design" in content and "campaign" not in content:
        raise UserError("the films are those of a design, for magray plan and magray simulate; this needs a campaign")
    return _validated(Config, text, overrides)


def read_films(text: str, overrides: Sequence[str] = ()) -> Config | DesignedConfig:
    """Return the config in YAML `text`, changed by `overrides`. Raises UserError as `load_films`."""
    content = _overridden(text, overrides)
    given = [section for section in ("campaign", "design") if section in content]
    if len(given) != 1:
        raise UserError(f"give the films by either campaign or design, not {'both' if given else 'neither'} of them")
    if given == ["design"]:
        return _validated(DesignedConfig, text, overrides)
    return _validated(Config, text, overrides)


def _overridden(text: str, overrides: Sequence[str]) -> dict[str, Any]:
    content = _keys_and_values(text)
    for override in overrides:
        _override(content, override)
    return content


def _load(path: str | Path, read: Callable[[str], _Read]) -> _Read:
    """Return what `read` makes of a file's text. Raises UserError, one line that names the file."""
    try:
        with _opened(path) as file:
            text = file.read(MAX_CHARACTERS + 1)  # no more of a device or of a file that is no config
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read this config: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: this is not a text file") from error
    except ValueError as error:  # the path itself holds a NUL, or half a character
        raise UserError(f"{str(path)!r}: cannot read this config: no file has such a name") from error
    try:
        return read(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _opened(path: str | Path) -> TextIO:
    if is_url(path):
        return TextIOWrapper(open_url(path), encoding="utf-8")
    return Path(path).open(encoding="utf-8")


def _keys_and_values(text: str) -> dict[str, Any]:
    content = parse(text)
    if not isinstance(content, dict):
        raise UserError("a config is a list of keys with values, such as name: quickstart")
    return content


def _validated(model: type[_Model], text: str, overrides: Sequence[str] = ()) -> _Model:
    """Return the config in YAML `text`, changed by `overrides`. Raises UserError with the line that is wrong."""
    content = _overridden(text, overrides)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = _first_problem(error)
        where = _line(text, overrides, lambda place: place == problem["loc"])
        raise UserError(where + _problem(problem, model)) from error
    except UserError as error:  # of a validator: it begins with the name of its key
        name = str(error).split(maxsplit=1)[0].rstrip(":").rpartition(".")[2]
        raise UserError(_line(text, overrides, lambda place: place[-1] == name) + str(error)) from error


def _line(text: str, overrides: Sequence[str], is_it: Callable[[_Place], bool]) -> str:
    """Return the line of the only value of `text` at such a place, as a message begins; "" if an override set it."""
    changed = [tuple(override.partition("=")[0].strip().split(".")) for override in overrides]
    found = [
        line
        for place, line in lines(text).items()
        if is_it(place) and not any(place[: len(keys)] == keys for keys in changed)
    ]
    return f"line {found[0]}: " if len(found) == 1 else ""


def _override(content: dict[str, Any], override: str) -> None:
    """Set the value of `content` that an override "key.key=value" names."""
    try:
        _set(content, override)
    except UserError as error:
        raise UserError(f"--set {shortened(override)}: {error}") from error


def _set(content: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    *parents, key = path.strip().split(".")
    if not (equals and key and path.isprintable()):
        raise UserError("write key=value, for example campaign.films=12")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise UserError(f"{parent} is a value, it has no keys of its own")
    content[key] = parse(value)


def _first_problem(error: ValidationError) -> ErrorDetails:
    """Return one problem: a misspelt key if there is one, since it may explain a missing key."""
    problems = error.errors(include_url=False)
    return next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])


def _problem(problem: ErrorDetails, model: type[BaseModel]) -> str:
    """Return a line about a problem."""
    where = ".".join(str(part)[:100] for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{where} is missing"
    if problem["type"] == "bool_type":
        return f"{where}: write true or false, not {shortened(problem['input'])}"
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}, not {shortened(problem['input'])}"
    known = _keys_beside(problem["loc"], model)
    nearest = difflib.get_close_matches(str(problem["loc"][-1])[:100], known, n=1, cutoff=0.4)
    return f"unknown key {where}; " + (f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}")


def _keys_beside(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Return the keys of the section of `model` that holds `location`."""
    section: Any = model
    for part in location[:-1]:
        if part in section.model_fields:  # the index of a stage and the kind of an initial state are no keys
            annotation = section.model_fields[part].annotation
            kinds = get_args(annotation) or (annotation,)
            section = next(kind for kind in kinds if hasattr(kind, "model_fields"))
    return list(section.model_fields)
