"""Which symbols count as mute, in invented time: symbols that tick with a period, and sweeps each second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.feed.symbol_cadence import MUTE_SECONDS, Cadence
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

INFY = Instrument("NSE", "INFY")
OTHER = Instrument("NSE", "SBIN")
periods = st.floats(0.05, 600.0)
phases = st.floats(0.0, 1.0)
lives = st.integers(3, 12)


def tick(price: float = 100.0, instrument: Instrument = INFY) -> Tick:
    return Tick(instrument=instrument, ltp=price, timestamp=0)


def live_through(cadence: Cadence, ticks: list[float], begin: float, end: float) -> list[float]:
    """Let the ticks come and sweep each second from begin to end; return the sweeps that found it mute."""
    fallen, waiting, now = [], sorted(ticks), begin
    while now <= end:
        while waiting and waiting[0] <= now:
            cadence.saw([tick()], waiting.pop(0))
        if cadence.sweep([INFY], now):
            fallen.append(now)
        now += 1.0
    for at in waiting:
        cadence.saw([tick()], at)
    return fallen


@given(periods, phases, lives)
def test_a_symbol_that_ticks_with_its_period_is_never_mute(period: float, phase: float, count: int) -> None:
    times = [phase + n * period for n in range(count)]
    assert live_through(Cadence(), times, 0.0, times[-1]) == []


@given(periods, phases, st.integers(4, 12))
def test_a_symbol_that_stops_is_mute_after_twice_its_usual_pause_and_one_sweep_and_that_is_told_once(
    period: float, phase: float, count: int
) -> None:
    # A period below a second is seen as the pause between two sweeps, so the first few seconds go by.
    times = [phase + n * period for n in range(max(count, int(4 / period)))]
    stopped = times[-1]
    cadence = Cadence()
    assert live_through(cadence, times, 0.0, stopped) == [], "while it ticks"
    began = float(int(stopped) + 1)
    usual = max(period, 1.0 + period) if period < 1 else period  # what a sweep each second can see of it
    fallen = live_through(cadence, [], began, stopped + 2 * usual + MUTE_SECONDS + 100)
    assert len(fallen) == 1
    assert max(MUTE_SECONDS, 2 * period) < fallen[0] - stopped <= max(MUTE_SECONDS, 2 * usual) + 1.001
    assert cadence.mute(INFY)
    cadence.saw([tick()], fallen[0] + 300)
    assert cadence.sweep([INFY], fallen[0] + 300.5) == []
    assert not cadence.mute(INFY), "a tick ends it"
    assert cadence.usual(INFY) > 300, "and has taught how long it may be silent"


def test_symbols_that_are_mute_wake_once() -> None:
    cadence = Cadence()
    live_through(cadence, [0.0, 1.0, 2.0], 0.0, 20.0)
    assert cadence.wake([OTHER, INFY]) == [INFY]
    assert not cadence.mute(INFY)
    assert cadence.wake([OTHER, INFY]) == []


@given(periods, st.floats(1.0, 100_000.0), st.booleans())
def test_a_hole_that_was_forgiven_is_not_learned(period: float, hole: float, before: bool) -> None:
    cadence = Cadence()
    times = [n * period for n in range(max(4, int(4 / period)))]
    live_through(cadence, times, 0.0, times[-1] + 1)
    usual = cadence.usual(INFY)
    back = times[-1] + 1 + hole
    if before:  # a market opens, or this process wakes up: no tick yet
        cadence.forgive([INFY], back)
        cadence.sweep([INFY], back)
        cadence.saw([tick()], back + 0.1)
    else:  # the tick that closes a gap
        cadence.saw([tick()], back)
        cadence.forgive([INFY], back)
    cadence.sweep([INFY], back + 1)
    cadence.saw([tick()], back + 1.5)
    cadence.sweep([INFY], back + 2)
    assert cadence.usual(INFY) <= max(usual, 1.5)


@given(periods, st.floats(10.0, 100_000.0))
def test_forgiveness_begins_the_silence_anew_though_no_tick_has_come_since(
    period: float, hole: float
) -> None:
    cadence = Cadence()
    times = [n * period for n in range(max(4, int(4 / period)))]
    live_through(cadence, times, 0.0, times[-1] + 1)
    opens = times[-1] + hole
    cadence.forgive([INFY], opens)
    assert cadence.sweep([INFY], opens) == [], "nothing could have come before"
    assert not cadence.mute(INFY)
    limit = max(MUTE_SECONDS, 2 * cadence.usual(INFY))
    assert live_through(cadence, [], opens + 0.5, opens + limit - 0.5) == []
    assert len(live_through(cadence, [], opens + limit + 0.5, opens + limit + 20)) == 1


def test_a_symbol_without_a_known_pause_is_not_judged() -> None:
    cadence = Cadence()
    assert live_through(cadence, [], 0.0, 1000.0) == [], "one that never ticked"
    assert live_through(cadence, [1001.0], 1001.0, 5000.0) == [], "the broker's first answer is no cadence"
    assert not cadence.mute(INFY)
    assert cadence.usual(INFY) == 0.0


def test_one_long_pause_fades_with_the_ticks_after_it() -> None:
    cadence = Cadence()
    live_through(cadence, [0.0, 1.0, 301.0], 0.0, 302.0)
    assert cadence.usual(INFY) == 300.0
    live_through(cadence, [302.0 + n for n in range(400)], 302.0, 702.0)
    assert cadence.usual(INFY) == 0.0, "which stands for less than two seconds"


@given(st.floats(0.01, 0.99), phases)
def test_of_a_symbol_that_ticks_more_than_once_a_second_no_pause_is_told(period: float, phase: float) -> None:
    cadence = Cadence()
    times = [phase + n * period for n in range(int(10 / period))]
    live_through(cadence, times, 0.0, times[-1])
    assert cadence.usual(INFY) == 0.0, "what lies between two sweeps is no pause of the symbol"


@given(st.floats(2.01, 600.0), phases)
def test_a_pause_of_two_seconds_and_more_is_told_as_it_is(period: float, phase: float) -> None:
    cadence = Cadence()
    times = [phase + n * period for n in range(5)]
    live_through(cadence, times, 0.0, times[-1] + 1)
    assert abs(cadence.usual(INFY) - period) < 1e-6 * period


def test_only_the_symbols_of_the_sweep_are_judged() -> None:
    cadence = Cadence()
    for now in range(5):
        cadence.saw([tick(), tick(instrument=OTHER)], float(now))
        cadence.sweep([INFY, OTHER], float(now))
    assert cadence.sweep([OTHER], 100.0) == [OTHER]
    assert not cadence.mute(INFY)


def test_the_last_of_several_ticks_in_one_message_counts() -> None:
    cadence = Cadence()
    cadence.saw([tick(1.0), tick(2.0, OTHER), tick(3.0)], 7.0)
    assert (last := cadence.last(INFY)) is not None
    assert last.ltp == 3.0
    assert cadence.seen(INFY) == cadence.seen(OTHER) == 7.0


def test_nothing_is_kept_of_a_symbol_that_was_forgotten() -> None:
    cadence = Cadence()
    live_through(cadence, [0.0, 1.0, 2.0], 0.0, 20.0)
    assert cadence.mute(INFY)
    cadence.forget(INFY)
    assert cadence.last(INFY) is None
    assert cadence.seen(INFY) is None
    assert cadence.usual(INFY) == 0.0
    assert not cadence.mute(INFY)
    assert cadence.sweep([INFY], 100.0) == []
    cadence.forgive([INFY], 100.0)
    cadence.forget(INFY)
    kept = (cadence._last, cadence._seen, cadence._rhythms, cadence._mute, cadence._since)
    assert not any(kept)
