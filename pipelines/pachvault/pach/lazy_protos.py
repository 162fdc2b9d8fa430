"""python_pachyderm without its client: only its messages are used here, a fraction of what it imports.

The package is put in place unread, so that its submodules can be imported; whoever asks it for a name of
its own gets it, read then. An import of pachvault changes nothing for those who use both.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_NAME = "python_pachyderm"


class _Unread(ModuleType):
    def __getattr__(self, name: str) -> Any:
        """Called for what is not there; reads the package, once."""
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on a module like any other
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def spare() -> None:
    """Put the package in place, unless it is imported already or missing."""
    spec = find_spec(_NAME) if _NAME not in sys.modules else None
    if spec is not None:
        package = module_from_spec(spec)
        package.__class__ = _Unread
        sys.modules[_NAME] = package
