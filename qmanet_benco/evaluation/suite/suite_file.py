"""A suite file: models x sets x attacks as YAML, checked word for word before any work starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from qmanet_benco.data.sets import set_title
from qmanet_benco.errors import RequestError
from qmanet_benco.evaluation.attacks import ATTACKS, NONE, Attack
from qmanet_benco.evaluation.suite.suite import PAD, RESIZE, ModelEntry, SetEntry, Suite

SHIPPED = Path(__file__).with_name("suites")
"""``paper.yaml`` and ``demo.yaml``."""
PRECISIONS = ("fp32", "amp")

MOST_BYTES = 4 << 20
"""Of a suite file; the paper's has 4 KB."""
DEEPEST, MOST_VALUES = 20, 100_000
LARGEST_SEED = 2**32 - 1
"""NumPy's."""
PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

Key = tuple[str | int, ...]


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
    return _Reader(path).suite(_text_of(path))


def with_choices(
    suite: Suite, sets: Mapping[str, str], checkpoints: Mapping[str, str], models: Sequence[str] = ()
) -> Suite:
    """A suite with other paths, or a part of it.

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
        replace(entry, checkpoint=checkpoints.get(entry.name, entry.checkpoint))
        for entry in suite.models
        if not models or entry.name in models
    )
    own = {set_title(entry.name): entry.name for entry in suite.sets}
    paths = {own.get(set_title(name), name): path for name, path in sets.items()}
    chosen = [
        replace(entry, path=paths[entry.name], generate={}) if entry.name in paths else entry for entry in suite.sets
    ]
    chosen += [SetEntry(name, path) for name, path in paths.items() if name not in own.values()]
    return replace(suite, models=entries, sets=tuple(chosen))


def _text_of(path: Path) -> str:
    """A file's text; of a device that never ends no more than a suite can have.

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


class _Reader:
    """Turns YAML nodes into a Suite and remembers the line of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values = 0
        self.lines: dict[Key, int] = {(): 1}

    def suite(self, text: str) -> Suite:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
            problem = "nested too deeply" if isinstance(error, RecursionError) else problem
            raise RequestError(f"{self.path}:{line}: {problem}", "YAML", "see `qmanet suite run --help`") from error
        content = self._value(node, ()) if node is not None else None
        fields = self._mapping(content, (), _SUITE, ("models", "sets"))
        models = self._entries(fields.pop("models"), ("models",), self._model)
        sets = self._entries(fields.pop("sets"), ("sets",), self._set)
        attacks = self._attacks(fields.pop("attacks", []))
        plugins = fields.pop("plugins", [])
        if not all(isinstance(word, str) and word for word in plugins):
            raise self._wrong(("plugins",), f"plugins: {plugins!r}", "a list of modules or of .py files")
        self._unique([(entry.name, entry.seed) for entry in models], "models")
        self._unique([entry.name for entry in sets], "sets")
        fields.setdefault("name", self.path.stem)
        suite = Suite(models=models, sets=sets, attacks=attacks, plugins=tuple(plugins), source=text, **fields)
        self._check_ranges(suite)
        return suite

    def _model(self, content: Any, at: Key) -> ModelEntry:
        fields = self._mapping(content, at, _MODEL, ("name", "model"))
        footnotes = fields.pop("footnotes", [])
        if not all(isinstance(note, str) for note in footnotes):
            raise self._wrong((*at, "footnotes"), f"footnotes: {footnotes!r}", "a list of texts")
        for name, value in fields.get("flags", {}).items():
            if not isinstance(value, str | int | float):
                raise self._wrong((*at, "flags", name), f"{name}: {value!r}", "a text or a number")
        if not 0 <= fields.get("seed", 0) <= LARGEST_SEED:
            raise self._wrong((*at, "seed"), f"seed: {fields['seed']}", f"0 to {LARGEST_SEED}")
        return ModelEntry(**fields, footnotes=tuple(footnotes), line=self.lines[at])

    def _set(self, content: Any, at: Key) -> SetEntry:
        fields = self._mapping(content, at, _SET, ("name",))
        if ("path" in fields) == ("generate" in fields):
            raise self._wrong(at, f"set {fields['name']!r}", "either a path or generate", "give one of the two")
        if "generate" in fields:
            fields["generate"] = self._mapping(fields["generate"], (*at, "generate"), _GENERATE, ("count",))
        if fields.get("limit", 0) < 0:
            raise self._wrong((*at, "limit"), f"limit: {fields['limit']}", "0 (all) or more")
        return SetEntry(**fields, line=self.lines[at])

    def _attacks(self, content: Any) -> tuple[Attack, ...]:
        found = [NONE]
        for index, entry in enumerate(content):
            at: Key = ("attacks", index)
            if not isinstance(entry, dict) or len(entry) != 1:
                raise self._wrong(at, f"attack {entry!r}", "one name with its levels", "e.g. - {jpeg: [50, 90]}")
            (name, levels), *_ = entry.items()
            if name not in ATTACKS:
                raise self._wrong((*at, name), f"attack {name!r}", f"one of {', '.join(ATTACKS)}", _near(name, ATTACKS))
            for level in levels if isinstance(levels, list) else [levels]:
                if isinstance(level, bool) or not isinstance(level, int | float):
                    raise self._wrong((*at, name), f"{name}: {level!r}", "a list of numbers")
                try:
                    ATTACKS[name].check(float(level))
                except RequestError as error:
                    raise self._wrong((*at, name), str(error), "") from error
                found.append(Attack(name, float(level)))
        return tuple(dict.fromkeys(found))

    def _check_ranges(self, suite: Suite) -> None:
        for key, good, expected in (
            ("image_size", 32 <= suite.image_size <= 8192, "32 to 8192 pixels"),
            ("batch", suite.batch >= 1, "1 or more"),
            ("workers", suite.workers >= 0, "0 or more"),
            ("seed", 0 <= suite.seed <= LARGEST_SEED, f"0 to {LARGEST_SEED}"),
            ("previews", suite.previews >= 0, "0 or more"),
            ("resize", suite.resize in (RESIZE, PAD), f"{RESIZE} or {PAD}"),
            ("precision", suite.precision in PRECISIONS, " or ".join(PRECISIONS)),
        ):
            if not good:
                raise self._wrong((key,), f"{key}: {getattr(suite, key)!r}", expected)

    def _entries(self, content: Any, at: Key, read: Callable[[Any, Key], Any]) -> tuple[Any, ...]:
        if not isinstance(content, list) or not content:
            raise self._wrong(at, f"{at[-1]}: {content!r}", "a list with at least one entry")
        return tuple(read(entry, (*at, index)) for index, entry in enumerate(content))

    def _mapping(
        self, content: Any, at: Key, kinds: Mapping[str, type | tuple[type, ...]], required: Sequence[str]
    ) -> dict[str, Any]:
        if not isinstance(content, dict):
            raise self._wrong(at, f"{content!r}", f"a mapping with {', '.join(required)}")
        for name, value in content.items():
            if name not in kinds:
                raise self._wrong((*at, name), f"key {name!r}", f"one of {', '.join(kinds)}", _near(name, kinds))
            if not isinstance(value, kinds[name]) or (isinstance(value, bool) and kinds[name] is not bool):
                raise self._wrong((*at, name), f"{name}: {value!r}", f"{_kind_name(kinds[name])}")
        for name in required:
            if name not in content or content[name] == "":
                raise self._wrong(at, f"no {name}", f"{', '.join(required)}", f"add {name}")
        return dict(content)

    def _unique(self, names: Sequence[Any], key: str) -> None:
        for index, name in enumerate(names):
            if name in names[:index]:
                shown = name if isinstance(name, str) else f"{name[0]} with seed {name[1]}"
                raise self._wrong((key, index), f"{shown} stands in {key} twice", "different names (or seeds)")

    def _value(self, node: yaml.Node, at: Key) -> Any:
        self.lines[at] = node.start_mark.line + 1
        self.values += 1
        if len(at) > DEEPEST or self.values > MOST_VALUES:
            # an alias stands for what it names, so ten lines can stand for a billion values, or for themselves
            got = f"values nested deeper than {DEEPEST}" if len(at) > DEEPEST else f"more than {MOST_VALUES:,} values"
            raise self._wrong(at, got, "a suite", "write out what the aliases stand for")
        if not isinstance(node, yaml.ScalarNode) and node.tag not in PLAIN_TAGS:
            raise self._wrong(at, f"the tag {node.tag}", "plain YAML")
        if isinstance(node, yaml.MappingNode):
            found: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = self._plain(key_node)
                place: Key = (*at, key)
                if key in found:
                    self.lines[place] = key_node.start_mark.line + 1
                    raise self._wrong(place, f"{key!r} stands here twice", "each key once")
                found[key] = self._value(value_node, place)
                self.lines[place] = key_node.start_mark.line + 1
            return found
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child, (*at, index)) for index, child in enumerate(node.value)]
        return self._plain(node)

    def _plain(self, node: yaml.Node) -> Any:
        """A scalar as YAML's safe schema reads it."""
        try:
            loader = yaml.SafeLoader("")
            value = loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            line = node.start_mark.line + 1
            raise RequestError(f"{self.path}:{line}: {node.value!r}", "plain text or a number") from error
        return value if isinstance(value, str | int | float | bool | type(None)) else str(node.value)

    def _wrong(self, at: Key, got: str, expected: str, cure: str = "") -> RequestError:
        while at not in self.lines:
            at = at[:-1]
        return RequestError(f"{self.path}:{self.lines[at]}: {got}", expected, cure)


def _near(name: Any, known: Mapping[str, Any]) -> str:
    close = get_close_matches(str(name), known, 1)
    return f"did you mean {close[0]}?" if close else ""


def _kind_name(kind: type | tuple[type, ...]) -> str:
    names = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping"}
    return " or ".join(names[one] for one in (kind if isinstance(kind, tuple) else (kind,)))


_SUITE: dict[str, type | tuple[type, ...]] = dict(
    name=str,
    image_size=int,
    resize=str,
    batch=int,
    workers=int,
    precision=str,
    seed=int,
    save_predictions=bool,
    previews=int,
    models=list,
    sets=list,
    attacks=list,
    plugins=list,
)
_MODEL: dict[str, type | tuple[type, ...]] = dict(
    name=str, model=str, flags=dict, checkpoint=str, seed=int, row=str, footnotes=list
)
_SET: dict[str, type | tuple[type, ...]] = dict(name=str, path=str, limit=int, generate=dict)
_GENERATE: dict[str, type | tuple[type, ...]] = dict(count=int, size=int, seed=int)
