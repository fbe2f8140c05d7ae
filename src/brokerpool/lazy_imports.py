"""Public names that are loaded when they are asked for: a program pays for what it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def attributes(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package whose names are in these modules of it, by name.

    What was found stays in the package, so that it is looked for once.
    """

    def of(name: str) -> object:
        if name in modules:
            module = import_module(f"{package}.{modules[name]}")
            # A module that bears its own name is one of the package's; any other has the name in it.
            found = module if modules[name] == name else getattr(module, name)
            setattr(import_module(package), name, found)
            return found
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return of
