"""The numbers: each is described once, each described one is returned, and /metrics says the same."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from brokerpool.gateway.server import Gateway
from brokerpool.monitor.metric_vocabulary.field_descriptions import VOCABULARY
from brokerpool.monitor.prometheus_text import Exposition
from brokerpool.monitor.stats import Field, Kind, Vocabulary
from brokerpool.simulator.fault_switches import FaultOrder
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.gateway_client import KEY, client, gateway, pool_of
from tests.measuring import work
from tests.rehearsal import until
from tests.two_accounts import NAMES, two_accounts

#: Labels are names of few things; none is ever a symbol, a client or a text from outside.
LABELS = {
    *("account", "connection", "event", "exchange", "group", "host", "kind", "node"),
    *("lane", "code", "outcome", "reason", "source", "window"),
}
#: What is told where there is more than one account.
OF_SEVERAL = ("http.accounts[account].", "broker.accounts[account].")
#: What only a part of a cluster returns: see `test_cluster_commands`.
OF_CLUSTER = "cluster."
#: What only an account with a deeper order book returns: see `test_gateway_deep_book`.
OF_DEEP_BOOK = "deep_book."


async def troubled(broker: KiteSimulator, served_by: Gateway, http: aiohttp.ClientSession) -> dict[str, Any]:
    """Bring about everything that the numbers tell of, and return them."""
    history = {
        "apikey": KEY,
        "symbol": "TCS",
        "exchange": "NSE",
        "interval": "D",
        "start_date": "2025-04-21",
        "end_date": "2025-04-25",
    }
    refuse = b'{"refuse_http": {"status": 503, "path": "/instruments/historical"}}'
    await broker.throw(FaultOrder.parse(refuse))
    while not served_by.stats()["http"]["refused"]:
        async with http.post(f"{served_by.http_url}/api/v1/history", json=history):
            pass

    def raises() -> None:
        raise RuntimeError("a watcher's fault")

    login = pool_of(served_by).feed.login
    login.watch(raises)
    login.renew(replace(login.credentials, expires_at=4e9))
    await broker.throw(FaultOrder.parse(b'{"http_break": {"kind": "no-answer", "path": "/quote"}}'))
    quote = {"apikey": KEY, "symbol": "TCS", "exchange": "NSE"}

    async def ask() -> None:
        async with http.post(f"{served_by.http_url}/api/v1/quotes", json=quote):
            pass

    tasks = [asyncio.create_task(ask()), *run_dry(served_by)]
    await until(lambda: served_by.stats()["http"]["holders"] and served_by.stats()["database"]["refused"])
    stats = served_by.stats()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return stats


def run_dry(served_by: Gateway) -> list[asyncio.Task[None]]:
    """Hold every connection to the database, have too many wait for one, and leave too much to be written."""
    assert served_by._persistence is not None
    store = served_by._persistence._store
    assert store is not None
    while store.note_statistics({"rehearsal": 1}):
        pass

    async def borrow() -> None:
        async with store._pool.connection():
            await asyncio.Event().wait()

    return [asyncio.create_task(borrow()) for _ in range(120)]


def test_each_number_that_is_returned_is_described_and_each_described_one_is_returned(tmp_path: Path) -> None:
    async def main() -> None:
        settings = {
            "MAX_SYMBOLS_PER_WEBSOCKET": "1",
            "BACKOFF_FACTOR": "0",
            "DATABASE_URL": f"sqlite:///{tmp_path}/test.db",
        }
        async with (
            gateway({"rate": 200}, **settings) as (broker, served_by),
            client(served_by) as session,
            aiohttp.ClientSession() as http,
        ):
            await session.subscribe("INFY", "RELIANCE")
            await session.take(3)
            stats = await troubled(broker, served_by, http)
            stats["gateway"]["slowest_clients"] = msgspec.to_builtins(served_by._slowest())  # in /stats alone
            assert len(stats["websocket"]["per_connection"]) == 2
            values = list(VOCABULARY.values(stats))
            assert [value.path for value in values if value.field is None] == []
            returned = {value.path for value in values}
            missing = [field.path for field in VOCABULARY.fields if field.path not in returned]
            assert [
                path for path in missing if not path.startswith((*OF_SEVERAL, OF_CLUSTER, OF_DEEP_BOOK))
            ] == []
            for value in values:
                assert _fits(value.field, value.value), f"{value.path} is {value.value!r}"

    asyncio.run(main())


def test_of_several_accounts_each_number_of_each_is_described_and_in_the_metrics_under_its_name() -> None:
    async def main() -> None:
        async with two_accounts() as stage:
            stats = stage.served_by.stats()
            values = [value for value in VOCABULARY.values(stats) if value.path.startswith(OF_SEVERAL)]
            strangers = [value.path for value in VOCABULARY.values(stats) if value.field is None]
            assert strangers == []
            for name in NAMES:
                mine = {value.path for value in values if value.labels[:1] == (name,)}
                assert {"http.accounts[account].requests", "broker.accounts[account].instruments"} <= mine
            for value in values:
                assert _fits(value.field, value.value), f"{value.path} is {value.value!r}"
            text = b"".join(Exposition().pieces(stats)).decode()
            found = samples(text)
            for name in NAMES:
                labels = frozenset({"account": name}.items())
                assert found["brokerpool_broker_account_instruments", labels] == 30
                assert ("brokerpool_http_account_requests_total", labels) in found

    asyncio.run(main())


def _fits(field: Field | None, value: Any) -> bool:
    assert field is not None
    match field.kind:
        case Kind.HISTOGRAM:
            return (
                set(value) == {"count", "sum", "buckets"} and sum(value["buckets"].values()) == value["count"]
            )
        case Kind.TEXT:
            return isinstance(value, str) and (not field.words or value in field.words)
        case Kind.COUNTER:
            return isinstance(value, int) and value >= 0
        case Kind.GAUGE:
            return value is None or isinstance(value, int | float)


def test_a_number_that_nobody_described_is_found() -> None:
    fields = ("a.b[c].d", Kind.GAUGE), ("a.e{f g}", Kind.TEXT), ("m[n k].o", Kind.GAUGE)
    known = Vocabulary(Field(path, kind, "", "") for path, kind in fields)
    stats = {
        "a": {"b": [{"name": "one", "d": 1, "new": 2}], "e": {"h t": "x"}, "list": [3]},
        "m": [{"name": "two", "k": "its", "o": 5}],
        "other": 4,
    }
    found = [(value.path, value.labels, value.value) for value in known.values(stats) if value.field]
    assert found == [
        ("a.b[c].d", ("one",), 1),
        ("a.e{f g}", ("h", "t"), "x"),
        ("m[n k].o", ("two", "its"), 5),
    ]
    strangers = {value.path for value in known.values(stats) if value.field is None}
    assert strangers == {"a.b[c].name", "a.b[c].new", "a.list", "other", "m[n k].name", "m[n k].k"}


def test_a_field_that_is_described_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="described twice"):
        Vocabulary([Field("a.b", Kind.GAUGE, "", ""), Field("a.b", Kind.TEXT, "", "")])


@pytest.mark.parametrize("field", VOCABULARY.fields, ids=lambda field: field.path)
def test_each_field_has_a_meaning_and_its_metric_a_name_as_prometheus_wants_it(field: Field) -> None:
    assert field.meaning[0].isupper()
    assert field.meaning.endswith(".")
    assert set(field.labels) <= LABELS
    if not field.metric:
        assert field.kind is Kind.TEXT or "[]" in field.path, "every number is a metric"
        return
    assert re.fullmatch(r"brokerpool_[a-z_]+", field.metric)
    assert field.metric.endswith("_total") == (field.kind is Kind.COUNTER)
    for unit in ("seconds", "bytes", "ratio"):
        name = field.metric.removesuffix("_total")
        assert name.endswith(f"_{unit}") == (field.unit == unit), field.unit
    assert "bytes" not in field.unit or field.unit == "bytes", "base units only"


def test_no_two_fields_share_a_metric() -> None:
    names = [field.metric for field in VOCABULARY.fields if field.metric]
    assert len(names) == len(set(names))


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what a scrape says: name and labels -> value."""
    return {
        (sample.name, frozenset(_plain(sample.labels).items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _plain(labels: dict[str, str]) -> dict[str, str]:
    """Write the bound of a bucket in one way only."""
    return {name: str(float(text)) if name == "le" else text for name, text in labels.items()}


def told(stats: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Give what the metrics have to say of an answer of /stats, worked out a second time."""
    for value in VOCABULARY.values(stats):
        field = value.field
        if field is None or not field.metric or value.value is None:
            continue
        labels = dict(zip(field.labels, value.labels, strict=True))
        if field.kind is Kind.TEXT:
            words = field.words or (value.value,)
            name = "state" if field.words else "version"
            for word in words:
                yield field.metric, {**labels, name: word}, float(word == value.value)
        elif field.kind is Kind.HISTOGRAM:
            yield f"{field.metric}_count", labels, value.value["count"]
            yield f"{field.metric}_sum", labels, value.value["sum"]
            total = 0
            for bound, count in value.value["buckets"].items():
                total += count
                yield f"{field.metric}_bucket", {**labels, "le": str(float(bound))}, total
        else:
            yield field.metric, labels, float(value.value)


def test_the_metrics_say_exactly_what_the_statistics_say(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            gateway(
                {"rate": 200},
                MAX_SYMBOLS_PER_WEBSOCKET="1",
                DATABASE_URL=f"sqlite:///{tmp_path}/test.db",
                BACKOFF_FACTOR="0",
            ) as (broker, served_by),
            client(served_by) as session,
            aiohttp.ClientSession() as http,
        ):
            await session.subscribe("INFY", "RELIANCE")
            await session.take(3)
            stats = await troubled(broker, served_by, http)
            scraped = samples(b"".join(Exposition().pieces(stats)).decode())
            ours = {key: value for key, value in scraped.items() if key[0].startswith("brokerpool_")}
            expected = {(name, frozenset(labels.items())): value for name, labels, value in told(stats)}
            assert ours == pytest.approx(expected)
            async with http.get(f"{served_by.http_url}/metrics") as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                live = samples(await answer.text())
            assert set(live) >= set(ours)
            assert ("process_cpu_seconds_total", frozenset()) in live

    asyncio.run(main())


def test_a_scrape_with_3_connections_and_3000_symbols_takes_less_than_5_ms() -> None:
    async def main() -> None:
        async with gateway({"symbols": 3000}) as (broker, served_by), client(served_by) as session:
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            await session.ask(action="subscribe", symbols=rows, mode=1)
            await until(lambda: served_by.upstream.symbols_unserved == 0)
            exposition = Exposition()
            gc.collect()
            times = []
            for _ in range(40):
                with work() as scrape:
                    b"".join(exposition.pieces(served_by.stats()))
                times.append(scrape.seconds)
            assert len(served_by.stats()["websocket"]["per_connection"]) == 3
            middle = sorted(times)[20]
            print(f"a scrape takes {middle * 1000:.1f} ms, {max(times) * 1000:.1f} ms at most")
            assert middle < 0.005

    asyncio.run(main())
