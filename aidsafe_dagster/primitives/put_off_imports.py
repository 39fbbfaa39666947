"""Modules that other libraries import at their start, loaded only once they are used."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _PutOff(ModuleType):
    """Stands for a module until one of its attributes is asked for."""

    def __getattr__(self, name: str) -> Any:
        # Python's import asks every module for some of these.
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def imports_put_off(*names: str) -> Iterator[None]:
    """Put the imports of modules off that the block would make.

    What imports them in the block holds stand-ins, which load the module when they are first used.
    Afterwards nobody else meets a stand-in. A module that was loaded before stays as it is.

    `importlib.util.LazyLoader` does not serve: up to Python 3.12, the second import of a module
    that was put off loads it.
    """
    put_off = {name: _PutOff(name) for name in names if name not in sys.modules}
    sys.modules.update(put_off)
    try:
        yield
    finally:
        for name, module in put_off.items():
            # One that was used in the block is there itself.
            if sys.modules.get(name) is module:
                del sys.modules[name]
