"""`/metrics`: the numbers of `/stats` in the text format of Prometheus, by way of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from brokerpool.monitor.metric_vocabulary.field_descriptions import VOCABULARY
from brokerpool.monitor.stats import Field, Kind

#: What every version of Prometheus reads.
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

#: As prometheus_client writes it, whose own annotation is missing.
_number: Callable[[float], str] = floatToGoString


class Exposition:
    """Writes what `/stats` says; made once, for the process's own metrics are kept in it."""

    def __init__(self) -> None:
        self._process = [_registry(collector) for collector in (ProcessCollector, GCCollector)]
        self._platform = generate_latest(_registry(PlatformCollector))

    def pieces(self, stats: Mapping[str, Any]) -> Iterator[bytes]:
        """Give the text in pieces, each of which is written when it is asked for, and so can be put off.

        There is one for each member of `stats`, and then come those of the process itself.
        """
        for name, member in stats.items():
            yield _written({name: member})
        yield self._platform
        for registry in self._process:
            yield generate_latest(registry)


def _registry(collector: Callable[..., Collector]) -> CollectorRegistry:
    registry = CollectorRegistry()
    collector(registry=registry)
    return registry


def _written(stats: Mapping[str, Any]) -> bytes:
    families: dict[str, list[str]] = {}
    for _, described, labels, value in VOCABULARY.values(stats):
        if described is None or value is None:
            continue
        writer = _WRITERS.get(described.metric)
        if writer is None:
            continue
        family = families.get(described.metric)
        if family is None:
            family = families[described.metric] = [writer.head]
        writer.write(family, labels, value)
    return "".join(["".join(family) for family in families.values()]).encode()


# What stands here is what prometheus_client would write of the same families, which a test compares: its own
# way, by an object and a dictionary for each sample, held up the ticks for longer than all else in a scrape.


class _Writer:
    """The samples of one field; what is the same in every scrape is put together once."""

    def __init__(self, described: Field, type_: str) -> None:
        metric = described.metric
        self.head = f"# HELP {metric} {described.meaning}\n# TYPE {metric} {type_}\n"
        self.sample = metric + _pattern(described.labels)

    def write(self, lines: list[str], labels: tuple[str, ...], value: Any) -> None:  # noqa: ANN401  (of any field)
        """Add the lines of one value."""
        lines.append(f"{_filled(self.sample, labels)} {_number(value)}\n")


class _TextWriter(_Writer):
    """A sample for each word that a text may be, 1 for the present one; where any text may be, just that."""

    def __init__(self, described: Field) -> None:
        super().__init__(described, "gauge")
        word = "state" if described.words else described.path.rpartition(".")[2]
        self.sample = described.metric + _pattern((*described.labels, word))
        self.words = described.words

    def write(self, lines: list[str], labels: tuple[str, ...], value: Any) -> None:  # noqa: ANN401  (of any field)
        lines += [
            f"{_filled(self.sample, (*labels, word))} {_number(word == value)}\n"
            for word in self.words or (value,)
        ]


class _HistogramWriter(_Writer):
    def __init__(self, described: Field) -> None:
        super().__init__(described, "histogram")
        metric, labels = described.metric, described.labels
        self.bucket = f"{metric}_bucket" + _pattern((*labels, "le"))
        self.count, self.sum = (f"{metric}_{part}" + _pattern(labels) for part in ("count", "sum"))

    def write(self, lines: list[str], labels: tuple[str, ...], value: Any) -> None:  # noqa: ANN401  (of any field)
        # Ours count each bucket by itself, Prometheus all up to its bound.
        buckets = value["buckets"]
        for bound, count in zip(buckets, accumulate(buckets.values()), strict=True):
            le = "+Inf" if bound == "inf" else bound
            lines.append(f"{_filled(self.bucket, (*labels, le))} {_number(count)}\n")
        lines.append(f"{_filled(self.count, labels)} {_number(value['count'])}\n")
        lines.append(f"{_filled(self.sum, labels)} {_number(value['sum'])}\n")


def _pattern(labels: Iterable[str]) -> str:
    """Return what `_filled` fills: the labels by name, as prometheus_client sorts them."""
    places = sorted((label, place) for place, label in enumerate(labels))
    if not places:
        return ""
    return "{{" + ",".join(f'{label}="{{{place}}}"' for label, place in places) + "}}"


def _filled(pattern: str, labels: tuple[str, ...]) -> str:
    return pattern.format(*map(_escaped, labels)) if labels else pattern


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _writer(described: Field) -> _Writer:
    match described.kind:
        case Kind.TEXT:
            return _TextWriter(described)
        case Kind.HISTOGRAM:
            return _HistogramWriter(described)
        case kind:
            return _Writer(described, kind.value)


_WRITERS = {described.metric: _writer(described) for described in VOCABULARY.fields if described.metric}
