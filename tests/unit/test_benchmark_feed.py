"""The feed benchmark: every broker's messages are whole, so that decoding them is what is timed."""

from __future__ import annotations

import pytest

from benchmarks.feed.benchmark import benchmark, brokers
from benchmarks.feed.decoding import RECEIVED_MS


@pytest.mark.parametrize("broker", brokers())
def test_our_wire_makes_a_tick_of_every_packet_of_every_message(broker: str) -> None:
    of = benchmark(broker)
    assert of.judged_size in of.sizes
    for mode in of.modes:
        for size in of.sizes:
            wire, messages = of.wire(), of.frames(mode, size, 3)
            ticks = [wire.binary(message, of.routes, RECEIVED_MS) for message in messages]
            assert [len(each) for each in ticks] == [size] * 3
            assert not any(wire.skipped.values())
            assert list(messages) == list(of.frames(mode, size, 3)), "every run decodes the same bytes"
