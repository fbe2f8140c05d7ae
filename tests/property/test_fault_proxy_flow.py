"""What toxics do to a stream of bytes, in invented time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.simulator.fault_proxy.flow import HOLD_BYTES, HOLD_PIECES, QUANTUM_SECONDS, End, Flow
from brokerpool.simulator.fault_proxy.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

latencies = st.builds(Latency, latency=st.integers(0, 200), jitter=st.integers(0, 300))
bandwidths = st.builds(Bandwidth, rate=st.integers(1, 50))
slicers = st.integers(1, 64).flatmap(
    lambda size: st.builds(
        Slicer,
        average_size=st.just(size),
        size_variation=st.integers(0, size - 1),
        delay=st.integers(0, 20_000),
    )
)
#: Toxics that spoil the time and the shape of a stream and never its content.
lossless = st.one_of(latencies, bandwidths, slicers, st.builds(SlowClose, delay=st.integers(0, 100)))
#: Chunks and the seconds before each.
arrivals = st.lists(st.tuples(st.binary(max_size=300), st.floats(0, 0.5)), max_size=12)
seeds = st.integers()

Departures = list[tuple[float, bytes | End]]


class Line:
    """A flow, its clock, and what left it."""

    def __init__(self, toxics: Mapping[str, Toxic] | None = None, seed: int = 0) -> None:
        self.flow = Flow(Random(seed))
        self.now = 0.0
        self.departures: Departures = []
        for name, toxic in (toxics or {}).items():
            self.flow.infect(name, toxic, self.now)

    def run(self, until: float) -> None:
        """Let everything leave that is due by then, each at its time."""
        while (at := self.flow.next_at()) <= until:
            self.now = max(self.now, at)
            self.collect()
        self.now = max(self.now, until)

    def collect(self) -> None:
        while (item := self.flow.leave(self.now)) is not None:
            self.departures.append((self.now, item if isinstance(item, End) else bytes(item)))

    def feed(self, data: bytes) -> None:
        self.flow.feed(data, self.now)
        self.collect()

    def finish(self) -> None:
        """Send the end and let the clock run for as long as anything moves."""
        self.flow.end(End.FINISHED, self.now)
        while (at := self.flow.next_at()) < math.inf:
            self.run(at)

    @property
    def text(self) -> bytes:
        return b"".join(item for _, item in self.departures if isinstance(item, bytes))

    @property
    def ends(self) -> list[End]:
        return [item for _, item in self.departures if isinstance(item, End)]


def named(toxics: list[Toxic]) -> dict[str, Toxic]:
    return {str(number): toxic for number, toxic in enumerate(toxics)}


@given(st.lists(lossless, max_size=4), arrivals, seeds)
def test_no_byte_is_lost_or_overtaken_and_the_end_comes_last(
    toxics: list[Toxic], chunks: list[tuple[bytes, float]], seed: int
) -> None:
    line = Line(named(toxics), seed)
    for data, pause in chunks:
        line.run(line.now + pause)
        line.feed(data)
    line.finish()
    assert line.text == b"".join(data for data, _ in chunks)
    assert line.ends == [End.FINISHED]
    assert line.departures[-1][1] is End.FINISHED
    assert line.flow.held == 0


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.floats(0, 0.5),
            st.tuples(st.sampled_from("abc"), lossless | st.just(Timeout())),
            st.sampled_from("abc"),
        ),
        max_size=20,
    ),
    seeds,
)
def test_toxics_that_come_and_go_lose_nothing_and_when_all_are_gone_everything_has_left(
    steps: list[bytes | float | str | tuple[str, Toxic]], seed: int
) -> None:
    line = Line(seed=seed)
    sent = b""
    there = set[str]()
    for step in steps:
        match step:
            case bytes():
                line.feed(step)
                sent += step
            case float():
                line.run(line.now + step)
            case str():
                line.flow.cure(step, line.now)
                there.discard(step)
            case (name, toxic):
                line.flow.cure(name, line.now)
                line.flow.infect(name, toxic, line.now)
                there.add(name)
        line.collect()
        assert sent.startswith(line.text)
        assert line.flow.held == len(sent) - len(line.text)
    for name in there:
        line.flow.cure(name, line.now)
    line.collect()
    assert line.text == sent


@given(latencies, arrivals, seeds)
def test_latency_is_within_its_jitter_except_behind_a_later_one(
    toxic: Latency, chunks: list[tuple[bytes, float]], seed: int
) -> None:
    line = Line({"slow": toxic}, seed)
    arrived = []
    for data, pause in chunks:
        line.run(line.now + pause)
        line.feed(data)
        arrived.append(line.now)
    line.run(1e6)
    behind = 0.0
    for (left, _), at in zip(line.departures, arrived, strict=True):
        assert left - at >= max(0, toxic.latency - toxic.jitter) / 1e3 - 1e-9
        assert left <= max(behind, at + (toxic.latency + toxic.jitter) / 1e3) + 1e-9
        behind = left


@given(bandwidths, arrivals, seeds, st.floats(0, 0.2))
def test_no_window_of_any_length_holds_more_than_the_bandwidth_however_late_the_wake_ups(
    toxic: Bandwidth, chunks: list[tuple[bytes, float]], seed: int, lateness: float
) -> None:
    line, late = Line({"thin": toxic}), Random(seed)
    for data, pause in chunks:
        line.run(line.now + pause)
        line.feed(data)
        line.now += late.uniform(0, lateness)
        line.collect()
    line.run(1e6)
    sizes = [(at, len(item)) for at, item in line.departures if isinstance(item, bytes)]
    rate = toxic.rate * 1000
    piece = max(1.0, rate * QUANTUM_SECONDS)
    for first in range(len(sizes)):
        for last in range(first, len(sizes)):
            window = sizes[last][0] - sizes[first][0]
            passed = sum(size for _, size in sizes[first : last + 1])
            assert passed <= rate * (window + QUANTUM_SECONDS) + piece + 1e-6


def test_a_reader_that_stood_still_has_saved_up_no_bandwidth() -> None:
    line = Line({"thin": Bandwidth(rate=10)})
    line.feed(bytes(100_000))
    line.now = 5.0
    line.collect()
    assert len(line.text) <= 10_000 * QUANTUM_SECONDS * 2


@given(bandwidths, st.integers(1, 20_000))
def test_bandwidth_is_used_up(toxic: Bandwidth, size: int) -> None:
    line = Line({"thin": toxic})
    line.feed(bytes(size))
    line.run(1e6)
    assert line.departures[-1][0] == pytest.approx(size / (toxic.rate * 1000))


@given(slicers, arrivals, seeds)
def test_slices_have_their_size_and_their_distance(
    toxic: Slicer, chunks: list[tuple[bytes, float]], seed: int
) -> None:
    line = Line({"sliced": toxic}, seed)
    for data, pause in chunks:
        line.run(line.now + pause)
        line.feed(data)
    line.run(1e6)
    largest = toxic.average_size + toxic.size_variation
    assert all(isinstance(piece, bytes) and len(piece) <= largest for _, piece in line.departures)
    for (one, _), (next_one, _) in pairwise(line.departures):
        assert next_one - one >= toxic.delay / 1e6 - 1e-9


def test_slices_are_of_the_average_size_on_average() -> None:
    line = Line({"sliced": Slicer(average_size=100, size_variation=60)})
    line.feed(bytes(100_000))
    assert 950 < len(line.departures) < 1050
    assert {len(p) for _, p in line.departures[:-1] if isinstance(p, bytes)} > set(range(60, 141, 20))


@given(st.integers(0, 40), st.lists(st.binary(min_size=1, max_size=100), max_size=12), st.lists(lossless))
def test_exactly_so_much_data_passes_then_the_connection_is_closed(
    limit: int, chunks: list[bytes], behind: list[Toxic]
) -> None:
    line = Line({"limit": LimitData(bytes=limit)} | named(behind))
    for data in chunks:
        line.feed(data)
    line.run(1e6)
    sent = b"".join(chunks)
    assert line.text == sent[:limit]
    assert line.ends == ([End.CLOSED] if len(sent) >= limit else [])
    assert line.flow.held == 0


def test_a_black_hole_holds_data_and_the_end_for_ever_and_gives_them_back_when_it_goes() -> None:
    line = Line()
    line.feed(b"before ")
    line.flow.infect("hole", Timeout(), line.now)
    line.feed(b"inside ")
    line.flow.end(End.FINISHED, line.now)
    line.run(1e9)
    assert line.text == b"before "
    assert line.flow.deadline() == line.flow.next_at() == math.inf
    assert line.flow.verdict(line.now) is None
    line.flow.cure("hole", line.now)
    line.collect()
    assert line.departures[1:] == [(1e9, b"inside "), (1e9, End.FINISHED)]
    silent = Line({"hole": Timeout()})
    silent.finish()
    assert silent.departures == []


@pytest.mark.parametrize(
    ("toxic", "end"),
    [(Timeout(timeout=300), End.CLOSED), (ResetPeer(timeout=300), End.RESET)],
)
def test_a_connection_ends_at_its_time_counted_from_when_the_toxic_came(toxic: Toxic, end: End) -> None:
    line = Line()
    line.run(10.0)
    line.flow.infect("end", toxic, line.now)
    assert line.flow.deadline() == pytest.approx(10.3)
    assert line.flow.verdict(10.299) is None
    assert line.flow.verdict(10.301) is end


def test_a_connection_works_until_its_reset_and_hangs_until_its_timeout() -> None:
    for toxic, text in ((ResetPeer(timeout=300), b"tick"), (Timeout(timeout=300), b"")):
        line = Line({"end": toxic})
        line.feed(b"tick")
        line.run(0.2)
        assert line.text == text


def test_of_two_ends_the_earlier_one_counts() -> None:
    line = Line({"close": Timeout(timeout=400), "reset": ResetPeer(timeout=200)})
    assert line.flow.verdict(1.0) is End.RESET


def test_a_slow_close_delays_the_end_and_nothing_else() -> None:
    line = Line({"slow": SlowClose(delay=250)})
    line.feed(b"tick")
    line.finish()
    assert line.departures == [(0.0, b"tick"), (0.25, End.FINISHED)]


def test_a_toxic_that_comes_late_catches_what_is_still_on_its_way() -> None:
    line = Line({"slow": Latency(latency=100)})
    line.feed(b"abcd")
    line.flow.infect("sliced", Slicer(average_size=1, delay=10_000), 0.05)
    line.run(1.0)
    assert [piece for _, piece in line.departures] == [b"a", b"b", b"c", b"d"]
    assert line.departures[0][0] == pytest.approx(0.1)
    assert line.departures[-1][0] == pytest.approx(0.13)


def test_a_stalled_flow_wants_no_more_than_it_may_hold() -> None:
    line = Line({"hole": Timeout()})
    while not line.flow.full:
        line.feed(bytes(65_536))
    assert line.flow.held == HOLD_BYTES
    line.flow.cure("hole", line.now)
    line.collect()
    assert not line.flow.full


def test_tiny_pieces_are_bounded_in_number() -> None:
    line = Line({"sliced": Slicer(average_size=1), "hole": Timeout()})
    line.feed(bytes(HOLD_PIECES * 3))
    assert sum(len(stage.items) for stage in line.flow._stages) <= HOLD_PIECES + 1
    assert line.flow.next_at() == math.inf, "it would be asked again and again in vain"
    many = Line({"hole": Timeout()})
    for _ in range(HOLD_PIECES * 2):
        if many.flow.full:
            break
        many.flow.feed(b"x", many.now)
    assert many.flow.held <= HOLD_PIECES + 1


def test_chance_is_injected() -> None:
    def departures(seed: int) -> Departures:
        line = Line({"slow": Latency(latency=50, jitter=50), "sliced": Slicer(average_size=8)}, seed)
        line.feed(bytes(100))
        line.run(10.0)
        return line.departures

    assert departures(1) == departures(1)
    assert departures(1) != departures(2)
