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

    In `path` a name in brackets is the label of a list whose items have a `name`, and names in braces are
    the labels of an object's keys (two of them where a key has two words). Brackets without a name are a
    list that is no metric. No label is ever a symbol or a client: there are too many of those.
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
    field: Field | None = None
    children: dict[str, _Node] = dataclasses.field(default_factory=dict)


class Vocabulary:
    """All fields, by path."""

    def __init__(self, fields: Iterable[Field]) -> None:
        """Raises ValueError for a path that is described twice."""
        self.fields = tuple(fields)
        self._root = _Node()
        for described in self.fields:
            node = self._root
            for step in _steps(described.path):
                node = node.children.setdefault(step, _Node())
            if node.field is not None or node.children:
                raise ValueError(f"{described.path} is described twice")
            node.field = described

    def values(self, stats: Mapping[str, Any]) -> Iterator[Value]:
        """Return every value of an answer of `/stats` with its field and the values of its labels."""
        return _values(self._root, "", (), stats)


def _values(node: _Node | None, path: str, labels: tuple[str, ...], value: Any) -> Iterator[Value]:  # noqa: ANN401  (whatever JSON holds)
    if node is None or node.field is not None:
        yield Value(path, node.field if node else None, labels, value)
        return
    fan = next((step for step in node.children if step[0] in "[{"), None)
    if fan is not None:
        below = node.children[fan]
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from _values(below, path + fan, (*labels, *_split(fan, str(key))), item)
        else:
            for item in value:
                name = (str(item["name"]),) if _labels(fan) else ()
                yield from _values(below, path + fan, (*labels, *name), item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _values(node.children.get(key), f"{path}.{key}" if path else key, labels, item)
    else:
        yield Value(path, None, labels, value)


def _steps(path: str) -> list[str]:
    """Split `a.b[c].d{e}` into a, b, [c], d, {e}."""
    return path.replace("[", ".[").replace("{", ".{").split(".")


def _labels(step: str) -> tuple[str, ...]:
    return tuple(step[1:-1].split()) if step[0] in "[{" else ()


def _split(fan: str, key: str) -> tuple[str, ...]:
    parts = key.split(" ", len(_labels(fan)) - 1)
    return (*parts, *("" for _ in range(len(_labels(fan)) - len(parts))))
