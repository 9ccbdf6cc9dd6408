"""Changes modules of others and the environment for a while; all is put back, whatever happens."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import wraps
from types import ModuleType
from typing import Any
from unittest import mock

Stock = Callable[..., Any]
"""The function that a patch replaces."""


class Patches(ExitStack):
    """An exit stack that also sets attributes; on exit each has its former value, latest change first."""

    def set(self, target: Any, name: str, value: Any) -> None:
        """Set ``target.name`` until the exit.

        Args:
            target: a module, a class or an object with a ``__dict__``.
            name: the attribute. One that was inherited or absent is deleted on exit.
            value: what it is meanwhile.
        """
        self.enter_context(mock.patch.object(target, name, value, create=True))

    def wrap(self, target: Any, name: str, around: Callable[..., Any]) -> None:
        """Let ``around`` be called in place of ``target.name`` until the exit.

        Args:
            target: as in :meth:`set`.
            name: a function, a method or a class.
            around: gets what it stands for, and then the arguments of the call.
        """
        stock = getattr(target, name)

        @wraps(stock)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return around(stock, *args, **kwargs)

        self.set(target, name, wrapped)


class Overlay(ModuleType):
    """A module with some names replaced, for one importer of it only."""

    def __init__(self, base: ModuleType, **names: Any) -> None:
        super().__init__(base.__name__)
        self.__dict__.update(names, _base=base)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_base"], name)


def environment(changes: dict[str, str]) -> AbstractContextManager[Any]:
    """Environment variables within the block; afterwards the whole environment is as it was."""
    return mock.patch.dict(os.environ, changes)
