"""Reads a suite file: YAML, held to :class:`Suite` before any work starts, with the line in every error."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from qmanet_benco.data.sets import set_title
from qmanet_benco.errors import RequestError, did_you_mean
from qmanet_benco.evaluation.suite.located_yaml import LocatedYaml
from qmanet_benco.evaluation.suite.suite import Generated, ModelEntry, SetEntry, Suite

SHIPPED = Path(__file__).with_name("suites")
"""``paper.yaml`` and ``demo.yaml``."""
MOST_BYTES = 4 << 20
"""A suite file's; the paper's has 4 KB."""

_KINDS = {
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "too_short": "a list with at least one entry",
}
_PARTS: Mapping[str, type[BaseModel]] = {"": Suite, "models": ModelEntry, "sets": SetEntry, "generate": Generated}


def read_suite(path: str | Path) -> Suite:
    """Read and check a suite file.

    Args:
        path: the file; ``paper.yaml`` and ``demo.yaml`` are found where they ship if there is no such file here.

    Raises:
        RequestError: the file is missing or no YAML, or an entry is wrong: the message begins with ``FILE:LINE``.
    """
    path = Path(path)
    named = path.name == str(path)
    if named and not os.path.isfile(path) and (SHIPPED / path.name).is_file():  # noqa: PTH113 - it never raises
        path = SHIPPED / path.name
    yaml = LocatedYaml(str(path), _text_of(path))
    try:
        suite = Suite.model_validate(yaml.content)
    except ValidationError as error:
        raise _first_mistake(error, yaml) from error
    _check_names([(entry.name, entry.seed) for entry in suite.models], "models", yaml)
    _check_names([(entry.name, 0) for entry in suite.sets], "sets", yaml)
    return suite if suite.name else suite.model_copy(update={"name": path.stem})


def with_choices(
    suite: Suite, sets: Mapping[str, str], checkpoints: Mapping[str, str], models: Sequence[str] = ()
) -> Suite:
    """Replace paths of a suite, or choose a part of it.

    Args:
        suite: as read.
        sets: paths by the set's name in any spelling; a name that the suite has not is added.
        checkpoints: checkpoints by the model's name.
        models: the models to run; empty: all.

    Raises:
        RequestError: a model's name is unknown.
    """
    names = [entry.name for entry in suite.models]
    for name in [*checkpoints, *models]:
        if name not in names:
            raise RequestError(f"model {name!r}", f"one of {', '.join(dict.fromkeys(names))}")
    entries = tuple(
        entry.model_copy(update={"checkpoint": checkpoints.get(entry.name, entry.checkpoint)})
        for entry in suite.models
        if not models or entry.name in models
    )
    own = {set_title(entry.name): entry.name for entry in suite.sets}
    paths = {own.get(set_title(name), name): path for name, path in sets.items()}
    chosen = [
        SetEntry(name=entry.name, path=paths[entry.name], limit=entry.limit) if entry.name in paths else entry
        for entry in suite.sets
    ]
    chosen += [SetEntry(name=name, path=path) for name, path in paths.items() if name not in own.values()]
    return suite.model_copy(update={"models": entries, "sets": tuple(chosen)})


def _text_of(path: Path) -> str:
    """Read a file's text; of a device that never ends no more than a suite can have.

    Raises:
        RequestError: it cannot be read, it is no UTF-8, or it is too long.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no UTF-8 text"
        raise RequestError(f"{path} cannot be read ({reason})", "a suite file (YAML)", "check the path") from error
    if len(content) > MOST_BYTES:
        raise RequestError(f"{path} has more than {MOST_BYTES:,} bytes", "a suite file (YAML)", "check the path")
    return text


def _first_mistake(error: ValidationError, yaml: LocatedYaml) -> RequestError:
    """Tell one mistake: a mistyped key, which makes others, before all else; the list that lost an entry by it last."""
    order = {"extra_forbidden": 0, "too_short": 2}
    mistakes = error.errors(include_url=False)
    mistake: Any = min(mistakes, key=lambda one: (order.get(one["type"], 1), yaml.line(one["loc"])))
    kind, place, value, context = (mistake.get(key) for key in ("type", "loc", "input", "ctx"))
    name = place[-1] if place and isinstance(place[-1], str) else ""
    shown = f"{name}: " if name else ""
    if kind == "extra_forbidden":
        known = _PARTS[_part(place[:-1])].model_fields
        return yaml.wrong(place, f"key {name!r}", f"one of {', '.join(known)}", did_you_mean(str(name), known))
    if kind == "invalid_key":
        return yaml.wrong(place, f"key {value!r}", "a key that is text")
    if kind == "missing" or (kind == "string_too_short" and name):
        return yaml.wrong(place, f"no {name}", _required(_part(place[:-1])), f"add {name}")
    if kind == "model_type":
        return yaml.wrong(place, f"{shown}{value!r}", f"a mapping with {_required(_part(place))}")
    if kind == "value_error":
        return yaml.wrong(place, f"{shown}{context['error']}")
    expected = context["expected"].replace("'", "") if kind == "literal_error" else _KINDS.get(kind, mistake["msg"])
    return yaml.wrong(place, f"{_part(place)}: {value!r}", expected)


def _part(place: tuple[str | int, ...]) -> str:
    return next((str(key) for key in reversed(place) if isinstance(key, str)), "")


def _required(part: str) -> str:
    return ", ".join(name for name, field in _PARTS[part].model_fields.items() if field.is_required())


def _check_names(names: Sequence[tuple[str, int]], key: str, yaml: LocatedYaml) -> None:
    for index, (name, seed) in enumerate(names):
        if (name, seed) in names[:index]:
            shown = f"{name} with seed {seed}" if key == "models" else name
            raise yaml.wrong((key, index), f"{shown} stands in {key} twice", "different names (or seeds)")
