"""A stand-in for the package python_pachyderm, for the command alone: it saves the import of the client.

pachvault uses only the package's messages. The stand-in lets its submodules be imported without the package's
own `__init__`, which imports the whole client: 50 modules, 4 MiB, 15 ms. It runs `__init__` when a name of
the package is asked for. Only the command's entry point calls `install`; a program that imports pachvault
gets the real package.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_NAME = "python_pachyderm"


class _NotExecuted(ModuleType):
    def __getattr__(self, name: str) -> Any:
        """Called for an attribute that is absent; executes the package, once."""
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on a module like any other
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def install() -> None:
    """Put the stand-in into sys.modules, unless the package is imported already or not installed."""
    spec = find_spec(_NAME) if _NAME not in sys.modules else None
    if spec is not None:
        package = module_from_spec(spec)
        package.__class__ = _NotExecuted
        sys.modules[_NAME] = package
