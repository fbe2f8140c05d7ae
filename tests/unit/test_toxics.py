"""Toxics are read from words and from JSON, and a wrong one is told with what there is."""

from __future__ import annotations

import re

import msgspec
import pytest

from brokerpool.simulator.fault_proxy.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ProxyOrder,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    ToxicOrder,
    describe,
    parse,
    parse_all,
)


@pytest.mark.parametrize(
    ("text", "toxic"),
    [
        ("latency latency=20 jitter=5", Latency(latency=20, jitter=5)),
        ("latency latency=20 stream=upstream", Latency(latency=20, stream="upstream")),
        ("bandwidth rate=64", Bandwidth(rate=64)),
        (" slicer  average_size=64 delay=1000 ", Slicer(average_size=64, delay=1000)),
        ("reset_peer timeout=500 toxicity=0.25", ResetPeer(timeout=500, toxicity=0.25)),
        ("timeout", Timeout(timeout=0)),
        ("slow_close delay=100", SlowClose(delay=100)),
        ("limit_data bytes=4096", LimitData(bytes=4096)),
    ],
)
def test_words_and_json_say_the_same(text: str, toxic: Toxic) -> None:
    name, read = parse(text)
    assert read == toxic
    assert name == f"{text.split()[0]}_{toxic.stream}"
    assert ToxicOrder.parse(msgspec.json.encode(describe("mine", toxic))) == ("mine", toxic)


def test_a_toxic_is_shown_in_toxiproxys_form() -> None:
    assert describe(*parse("latency latency=20 jitter=5 name=slow")) == {
        "name": "slow",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1.0,
        "attributes": {"latency": 20, "jitter": 5},
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' is not a toxic. Toxics: latency (latency, jitter), bandwidth (rate), slicer"),
        ("latencyy latency=1", "'latencyy' is not a toxic"),
        ("latency", "missing required field `latency`"),
        (
            "latency lag=3",
            "'lag' is not an attribute of it. Its attributes: latency, jitter; each has stream",
        ),
        ("latency latency=slow", "Expected `int`"),
        ("latency latency=-1", "Expected `int` >= 0"),
        ("latency latency", "'latency' in 'latency latency' is not of the form attribute=value"),
        ("latency latency=1 latency=2", "latency is given twice"),
        ("bandwidth rate=0", "Expected `int` >= 1"),
        ("slicer average_size=8 size_variation=8", "size_variation 8 must be smaller than average_size 8"),
        ("timeout toxicity=1.5", "Expected `float` <= 1.0"),
        ("timeout stream=sideways", "Invalid enum value 'sideways'"),
        ("timeout name=a/b", "Expected `str` matching regex"),
        ("timeout type=latency", "'type' is not an attribute"),
    ],
)
def test_wrong_words_are_told_with_what_there_is(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse(text)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "A toxic has type, name, stream, toxicity, attributes; toxics: latency"),
        (b'{"type": "fog"}', "'fog' is not a toxic"),
        (b'{"type": "timeout", "strength": 1}', "unknown field `strength`"),
        (b'{"type": "timeout", "attributes": {"stream": "upstream"}}', "'stream' is not an attribute"),
        (b"[" * 100_000, "A toxic has type"),
    ],
)
def test_wrong_json_is_told_with_what_there_is(body: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        ToxicOrder.parse(body)


def test_toxics_keep_their_order_and_none_and_down_are_not_among_them() -> None:
    assert list(parse_all(["slicer average_size=9", "none", "latency latency=1", "down"])) == [
        "slicer_downstream",
        "latency_downstream",
    ]


def test_two_toxics_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two toxics are called 'timeout_downstream'"):
        parse_all(["timeout", "timeout timeout=5"])
    assert len(parse_all(["timeout", "timeout stream=upstream", "timeout name=third"])) == 3


def test_the_proxy_is_only_told_whether_it_is_enabled() -> None:
    assert ProxyOrder.parse(b'{"enabled": false}').enabled is False
    for body in (b"", b"{}", b'{"enabled": 0}', b'{"enabled": true, "port": 1}'):
        with pytest.raises(ValueError, match=r'Send \{"enabled": true\}'):
            ProxyOrder.parse(body)
