"""How the API reference shows fields: the `#:` comment above as their text, and of values defaults alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from griffe import Alias, Attribute, Class, Docstring, Extension, GriffeLoader, Module, Object

_MARK = "#:"


class FieldComments(Extension):
    """Makes the `#:` comment above an attribute its docstring, and leaves out what `__init__` works out."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: object) -> None:
        """Prepare the attributes of a package that was just read."""
        _describe(pkg)


def _describe(parent: Object) -> None:
    for member in parent.members.values():
        if isinstance(member, Alias):
            continue
        if isinstance(member, Attribute):
            if member.docstring is None:
                _describe_attribute(member)
            if "class-attribute" not in member.labels and isinstance(parent, Class):
                member.value = None
        _describe(member)


def _describe_attribute(attribute: Attribute) -> None:
    file, line = attribute.filepath, attribute.lineno
    if isinstance(file, Path) and line is not None:  # a package without a file has several folders
        text = comment_above(attribute.lines_collection[file], line)
        attribute.docstring = Docstring(text, lineno=line, parent=attribute) if text else None


def comment_above(lines: Sequence[str], number: int) -> str:
    """Return the `#:` comment that ends right above a line, which is counted from 1; empty without one."""
    first = number - 1
    while first > 0 and lines[first - 1].lstrip().startswith(_MARK):
        first -= 1
    return "\n".join(line.strip().removeprefix(_MARK).strip() for line in lines[first : number - 1])
