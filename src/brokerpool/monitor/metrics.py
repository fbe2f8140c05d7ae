"""`/metrics`: the numbers of `/stats` in the text format of Prometheus, by way of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from brokerpool.monitor.stats import Field, Kind
from brokerpool.monitor.vocabulary import VOCABULARY

#: What every version of Prometheus reads.
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Exposition:
    """Writes what `stats()` returns; made once, for the process's own metrics are kept in it."""

    def __init__(self, stats: Callable[[], Mapping[str, Any]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Statistics(stats))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def text(self) -> bytes:
        """Return all metrics of this moment."""
        return generate_latest(self._registry)


class _Statistics(Collector):
    def __init__(self, stats: Callable[[], Mapping[str, Any]]) -> None:
        self._stats = stats

    def describe(self) -> Iterable[Metric]:
        """Return the families without values, so that registering asks for no statistics."""
        return [_family(described) for described in VOCABULARY.fields if described.metric]

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for value in VOCABULARY.values(self._stats()):
            described = value.field
            if described is None or not described.metric or value.value is None:
                continue
            family = families.get(described.metric)
            if family is None:
                family = families[described.metric] = _family(described)
            _add(family, described, value.labels, value.value)
        return families.values()


def _family(described: Field) -> Metric:
    name, labels = described.metric, described.labels
    match described.kind:
        case Kind.COUNTER:
            return CounterMetricFamily(name, described.meaning, labels=labels)
        case Kind.HISTOGRAM:
            return HistogramMetricFamily(name, described.meaning, labels=labels)
        case Kind.TEXT:
            word = "state" if described.words else described.path.rpartition(".")[2]
            return GaugeMetricFamily(name, described.meaning, labels=(*labels, word))
        case Kind.GAUGE:
            return GaugeMetricFamily(name, described.meaning, labels=labels)


def _add(family: Metric, described: Field, labels: tuple[str, ...], value: Any) -> None:  # noqa: ANN401  (of any field)
    if isinstance(family, HistogramMetricFamily):
        # Ours count each bucket by itself, Prometheus all up to its bound.
        buckets = value["buckets"]
        bounds = ["+Inf" if bound == "inf" else bound for bound in buckets]
        sums = [float(count) for count in accumulate(buckets.values())]
        family.add_metric(labels, list(zip(bounds, sums, strict=True)), value["sum"])
    elif isinstance(family, CounterMetricFamily):
        family.add_metric(labels, value)
    elif isinstance(family, GaugeMetricFamily) and described.kind is Kind.TEXT:
        for word in described.words or (value,):
            family.add_metric((*labels, word), float(word == value))
    elif isinstance(family, GaugeMetricFamily):
        family.add_metric(labels, float(value))
