"""Docstrings name things in Sphinx's roles, which an editor understands; the site shows the names alone."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:py:)?(?:mod|class|func|meth|data|attr|exc):`~?([^`]+)`")


class Roles(griffe.Extension):
    """Turn ``:func:`~package.name``` into ```name```."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", obj.docstring.value)
