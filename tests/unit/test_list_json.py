"""A list that is one JSON array: rows wherever pieces are cut, bad ones counted, and a clear end."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.instrument_list_file import Entry, LoadedInstruments
from brokerpool.brokers.instrument_list_json import load_json
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Details, Instrument


class Row(msgspec.Struct):
    token: str
    symbol: str


def entry(row: Row) -> Entry:
    if row.symbol == "BAD":
        raise ValueError(row.symbol)
    return Instrument("NSE", row.symbol), row.token, Details(row.symbol, "NSE")


def load(dump: str | bytes) -> LoadedInstruments:
    return asyncio.run(load_json(dump.encode() if isinstance(dump, str) else dump, Row, entry))


def rows(count: int) -> list[dict[str, str]]:
    return [{"token": str(n), "symbol": f"S{n}", "name": "x" * (n % 90)} for n in range(1, count + 1)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("layout", [None, 2], ids=["one line", "indented"])
def test_every_row_is_read_wherever_the_pieces_are_cut(pack, layout):
    loaded = load(pack(json.dumps(rows(2000), indent=layout).encode()))
    assert [loaded.book.token(i) for i in loaded.book] == [str(n) for n in range(1, 2001)]
    assert loaded.skipped == 0


@pytest.mark.parametrize(
    ("bad", "lost"),
    [
        ({"token": "9", "symbol": "BAD"}, 1),
        ({"token": 9, "symbol": "NUMBER"}, 1),
        ({"symbol": "LESS"}, 1),
        ({"token": "1", "symbol": "TAKEN"}, 1),
        ({"token": "99", "symbol": "GOOD", "name": "a } in a name"}, 0),
        ({"token": "99", "symbol": "GOOD", "name": 'a }, { and a " in a name'}, 0),
    ],
)
def test_a_bad_row_costs_itself(bad, lost):
    loaded = load(json.dumps([*rows(20), bad, *rows(40)[20:]]))
    assert (len(loaded.book), loaded.skipped) == (41 - lost, lost)


def test_bytes_that_are_no_text_cost_their_row():
    good = [b'{"token": "%d", "symbol": "%c"}' % row for row in ((1, b"A"), (3, b"C"))]
    loaded = load(b"[%b, %b, %b]" % (good[0], b'{"token": "2", "symbol": "\xff\xfe"}', good[1]))
    assert ([str(i) for i in loaded.book], loaded.skipped) == (["NSE:A", "NSE:C"], 1)


@pytest.mark.parametrize(
    ("dump", "message"),
    [
        ("", "no usable row"),
        ("[]", "no usable row"),
        ("<html>{maintenance}</html>", "no usable row; 1 could not be read"),
        (json.dumps(rows(300))[:-1], "cut off after"),
        (json.dumps(rows(300))[:5000], "cut off after"),
        (gzip.compress(json.dumps(rows(900)).encode())[:-20], "cut off after"),
        ("[" + '{"a": "' + "y" * 300_000, "no usable row; 4 could not be read"),
    ],
)
def test_a_list_that_cannot_be_used_is_a_clear_error(dump, message):
    with pytest.raises(BrokerError, match=message) as caught:
        load(dump)
    assert caught.value.code is ErrorCode.BROKER_UNREACHABLE


@given(st.binary(max_size=300) | st.text(alphabet='{}[],:"\\ at1', max_size=120).map(str.encode))
def test_no_bytes_raise_anything_else(junk):
    dump = b'[{"token": "1", "symbol": "A"},' + junk + b',{"token": "2", "symbol": "B"}]'
    with contextlib.suppress(BrokerError):
        assert 1 <= len(load(dump).book) <= 62
