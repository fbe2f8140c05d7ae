"""Whatever the statistics say, /metrics is written as prometheus_client itself would write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate, islice
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from brokerpool.histogram import Histogram
from brokerpool.monitor.metric_vocabulary.field_descriptions import VOCABULARY
from brokerpool.monitor.prometheus_text import Exposition
from brokerpool.monitor.stats import Field, Kind

numbers = st.one_of(st.integers(0, 2**60), st.floats(), st.booleans())
texts = st.one_of(st.sampled_from(["zerodha-1", 'a "b"', "back\\slash", "two\nlines", " ", ""]), st.text())


@st.composite
def histograms(draw: st.DrawFn) -> dict[str, Any]:
    histogram = Histogram()
    for seconds in draw(st.lists(st.floats(0, 20), max_size=5)):
        histogram.observe(seconds)
    return histogram.stats()


def values(field: Field) -> st.SearchStrategy[Any]:
    match field.kind:
        case Kind.HISTOGRAM:
            return histograms()
        case Kind.TEXT:
            return st.sampled_from([*field.words, "another"]) if field.words else texts
        case Kind.COUNTER:
            return st.integers(0, 2**60)
        case Kind.GAUGE:
            return st.none() | numbers


def answers(fields: Mapping[str, Field]) -> st.SearchStrategy[Any]:
    """Return answers that have all of these fields, given by what is left of their paths."""
    if "" in fields:
        return values(fields[""])
    below: dict[str, dict[str, Field]] = {}
    for path, field in fields.items():
        step = path[: path.index({"[": "]", "{": "}"}[path[0]]) + 1] if path[0] in "[{" else _name(path)
        below.setdefault(step, {})[path[len(step) :].removeprefix(".")] = field
    parts = {step: answers(found) for step, found in below.items()}
    first, inside = next(iter(parts.items()))
    if first[0] == "{":
        return st.dictionaries(texts, inside, max_size=3)
    if first[0] == "[":
        named = st.tuples(texts, inside).map(lambda pair: {**pair[1], "name": pair[0]})
        return st.lists(named, max_size=3)
    return st.fixed_dictionaries(parts)


def _name(path: str) -> str:
    return path[: min([path.index(mark) for mark in ".[{" if mark in path], default=len(path))]


class Reference(Collector):
    """The same families as objects of prometheus_client."""

    def __init__(self, stats: Mapping[str, Any]) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for value in VOCABULARY.values(self._stats):
            field = value.field
            if field is None or not field.metric or value.value is None:
                continue
            self._add(families, field, value.labels, value.value)
        return families.values()

    def _add(self, families: dict[str, Metric], field: Field, labels: tuple[str, ...], value: Any) -> None:
        name, meaning = field.metric, field.meaning
        known = families.get(name)
        match field.kind:
            case Kind.COUNTER:
                counter = known or CounterMetricFamily(name, meaning, labels=field.labels)
                counter.add_metric(labels, value)  # type: ignore[attr-defined]  # of the family that it is
                families[name] = counter
            case Kind.HISTOGRAM:
                histogram = known or HistogramMetricFamily(name, meaning, labels=field.labels)
                bounds = ["+Inf" if bound == "inf" else bound for bound in value["buckets"]]
                sums = [float(count) for count in accumulate(value["buckets"].values())]
                histogram.add_metric(labels, list(zip(bounds, sums, strict=True)), value["sum"])  # type: ignore[attr-defined]
                families[name] = histogram
            case Kind.TEXT:
                word = "state" if field.words else field.path.rpartition(".")[2]
                text = known or GaugeMetricFamily(name, meaning, labels=(*field.labels, word))
                for word in field.words or (value,):
                    text.add_metric((*labels, word), float(word == value))  # type: ignore[attr-defined]
                families[name] = text
            case Kind.GAUGE:
                gauge = known or GaugeMetricFamily(name, meaning, labels=field.labels)
                gauge.add_metric(labels, float(value))  # type: ignore[attr-defined]
                families[name] = gauge


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(answers({field.path: field for field in VOCABULARY.fields}))
def test_the_text_is_what_prometheus_client_writes_of_the_same_numbers(stats: dict[str, Any]) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Reference(stats))
    text = b"".join(islice(Exposition().pieces(stats), len(stats)))
    assert text.decode() == generate_latest(registry).decode()
    list(text_string_to_metric_families(text.decode()))


def test_the_metrics_of_the_process_follow_and_no_family_is_told_twice() -> None:
    text = b"".join(Exposition().pieces({})).decode()
    names = [family.name for family in text_string_to_metric_families(text)]
    assert {"process_cpu_seconds", "python_info", "python_gc_collections"} <= set(names)
    assert len(names) == len(set(names))
