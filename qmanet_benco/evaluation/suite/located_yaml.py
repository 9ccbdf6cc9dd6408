"""Reads YAML whose every value knows its line, so that a mistake can be shown where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from qmanet_benco.errors import RequestError

DEEPEST, MOST_VALUES = 20, 100_000
PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value, as pydantic's ``loc``."""


class LocatedYaml:
    """The content of a YAML file, in YAML's safe schema, with the line of each value."""

    def __init__(self, name: str, text: str) -> None:
        """Read a text.

        Args:
            name: the file, to be named in errors.
            text: its content.

        Raises:
            RequestError: it is no YAML, a key stands twice, or it asks for more than a file of settings holds.
        """
        self.name = name
        self._values = 0
        self._lines: dict[Place, int] = {(): 1}
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
            problem = "nested too deeply" if isinstance(error, RecursionError) else problem
            line = mark.line + 1 if mark else 1
            raise RequestError(f"{name}:{line}: {problem}", "YAML", "see `qmanet suite run --help`") from error
        self.content: Any = None if node is None else self._value(node, ())

    def wrong(self, place: Place, got: str, expected: str = "", cure: str = "") -> RequestError:
        """Make the error for a value; it begins with ``FILE:LINE``."""
        return RequestError(f"{self.name}:{self.line(place)}: {got}", expected, cure)

    def line(self, place: Place) -> int:
        """Find the line of a value, or of the nearest one around it."""
        while place not in self._lines:
            place = place[:-1]
        return self._lines[place]

    def _value(self, node: yaml.Node, place: Place) -> Any:
        self._lines.setdefault(place, node.start_mark.line + 1)
        self._values += 1
        if len(place) > DEEPEST or self._values > MOST_VALUES:
            # an alias stands for what it names, so ten lines can stand for a billion values, or for themselves
            deep = len(place) > DEEPEST
            got = f"values nested deeper than {DEEPEST}" if deep else f"more than {MOST_VALUES:,} values"
            raise self.wrong(place, got, "a suite", "write out what the aliases stand for")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in PLAIN_TAGS:
            raise self.wrong(place, f"the tag {node.tag}", "plain YAML")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        return [self._value(child, (*place, index)) for index, child in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, place: Place) -> Mapping[Any, Any]:
        content: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node)
            below = (*place, key)
            self._lines[below] = key_node.start_mark.line + 1
            if key in content:
                raise self.wrong(below, f"{key!r} stands here twice", "each key once")
            content[key] = self._value(value_node, below)
        return content

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise RequestError(
                f"{self.name}:{node.start_mark.line + 1}: {node.value!r}", "plain text or a number"
            ) from error
        return value if isinstance(value, str | int | float | bool | type(None)) else str(node.value)
