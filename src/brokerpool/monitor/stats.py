"""How `/stats` is described: fields with path, unit and meaning, and the values found under them; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple


class Kind(Enum):
    """What may be done with a number."""

    #: Goes up and down.
    GAUGE = "gauge"
    #: Only goes up, from 0 at the start.
    COUNTER = "counter"
    #: An object with `count`, `sum`, and `buckets`: upper bound -> number in this bucket alone.
    HISTOGRAM = "histogram"
    #: For people, or one of a few words.
    TEXT = "text"


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of `/stats`, told once for its page, for `/metrics` and for the tests.

    In `path` a name in brackets is the label of a list whose items have a `name`; more names behind it are
    labels that items have as members of that name. Names in braces are the labels of an object's keys (two
    of them where a key has two words). Brackets without a name are a list that is no metric. No label is
    ever a symbol or a client: there are too many of those.
    """

    path: str
    kind: Kind
    #: "seconds", "bytes", "ratio" (0 to 1), or what is counted.
    unit: str
    meaning: str
    #: The name in `/metrics`, with the `_total` of a counter; empty for what is not shown there.
    metric: str = ""
    #: The words that a text may be; the metric has one sample for each, 1 for the present word.
    words: tuple[str, ...] = ()
    #: The name of the same thing in OpenTelemetry's semantic conventions, where there is one.
    otel: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels over which the field fans out."""
        return tuple(label for step in _steps(self.path) for label in _labels(step))


class Value(NamedTuple):
    """What stands in one place of `/stats`; `field` is None where nobody has described it."""

    path: str
    field: Field | None
    labels: tuple[str, ...]
    value: Any


@dataclasses.dataclass(slots=True)
class _Node:
    """One step of a path, with all that is known of it beforehand: an answer has hundreds of values."""

    path: str = ""
    field: Field | None = None
    children: dict[str, _Node] = dataclasses.field(default_factory=dict)
    #: What is below a list's items, or below any key of an object, and the labels that tell these apart.
    fan: _Node | None = None
    labels: tuple[str, ...] = ()


class Vocabulary:
    """All fields, by path."""

    def __init__(self, fields: Iterable[Field]) -> None:
        """Raises ValueError for a path that is described twice."""
        self.fields = tuple(fields)
        self._root = _Node()
        for described in self.fields:
            node = self._root
            for step in _steps(described.path):
                node = _below(node, step)
            if node.field is not None or node.children:
                raise ValueError(f"{described.path} is described twice")
            node.field = described

    def values(self, stats: Mapping[str, Any]) -> list[Value]:
        """Return every value of an answer of `/stats` with its field and the values of its labels."""
        found: list[Value] = []
        _collect(found, self._root, (), stats)
        return found


def _below(node: _Node, step: str) -> _Node:
    below = node.children.get(step)
    if below is None:
        fans = step[0] in "[{"
        path = node.path + step if fans or not node.path else f"{node.path}.{step}"
        below = node.children[step] = _Node(path)
        if fans:
            node.fan, node.labels = below, _labels(step)
    return below


def _collect(found: list[Value], node: _Node, labels: tuple[str, ...], value: Any) -> None:  # noqa: ANN401  (whatever JSON holds)
    if node.field is not None:
        found.append(Value(node.path, node.field, labels, value))
    elif node.fan is not None and isinstance(value, Mapping):
        for key, item in value.items():
            _collect(found, node.fan, (*labels, *_split(str(key), len(node.labels))), item)
    elif node.fan is not None:
        for item in value:
            _collect(found, node.fan, (*labels, *_of_item(node.labels, item)), item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            below = node.children.get(key)
            if below is not None:
                _collect(found, below, labels, item)
            else:
                found.append(Value(f"{node.path}.{key}" if node.path else key, None, labels, item))
    else:
        found.append(Value(node.path, None, labels, value))


def _steps(path: str) -> list[str]:
    """Split `a.b[c].d{e}` into a, b, [c], d, {e}."""
    return path.replace("[", ".[").replace("{", ".{").split(".")


def _labels(step: str) -> tuple[str, ...]:
    return tuple(step[1:-1].split()) if step[0] in "[{" else ()


def _of_item(labels: tuple[str, ...], item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values of a list item's labels: its name, and its members that are called as the others."""
    for place, label in enumerate(labels):
        yield str(item[label if place else "name"])


def _split(key: str, labels: int) -> tuple[str, ...]:
    """Return the words of a key, one for each label, the rest in the last one; missing ones are empty."""
    parts = key.split(" ", labels - 1)
    return (*parts, *[""] * (labels - len(parts)))
