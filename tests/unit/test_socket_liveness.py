"""When a socket counts as silent or mute, in invented time."""

from __future__ import annotations

import pytest

from brokerpool.feed.socket_liveness import (
    FIRST_DATA_SECONDS,
    MUTE_SECONDS,
    PATIENCE_SECONDS,
    PROBE_SECONDS,
    PROVEN_SECONDS,
    Liveness,
    Rhythm,
    Verdict,
)

SILENCE = 30.0  # above the limits for mute ones, so that each can be seen by itself


def judge(
    liveness: Liveness, begin: float, end: float, *, trading: bool = True, heard: bool = True
) -> list[tuple[float, Verdict]]:
    """Judge each second, heartbeats included if `heard`; return what was said and when, up to an end."""
    said, now = [], begin
    while now <= end:
        if heard:
            liveness.heard(now)
        verdict = liveness.verdict(now, trading=trading)
        if verdict is not None:
            said.append((now, verdict))
            if verdict is not Verdict.PROBE:
                break
            liveness.probed()
        now += 1.0
    return said


def tick_each_second(liveness: Liveness, begin: float, end: float) -> None:
    now = begin
    while now <= end:
        liveness.ticked(now)
        assert liveness.verdict(now, trading=True) is None
        now += 1.0


@pytest.mark.parametrize("trading", [True, False])
def test_a_socket_that_says_nothing_at_all_is_silent_whatever_the_hour(trading: bool) -> None:
    liveness = Liveness(5.0, 100.0)
    assert judge(liveness, 100.0, 104.0, trading=trading, heard=False) == []
    assert liveness.verdict(105.0, trading=trading) is Verdict.SILENT


def test_a_sign_of_life_puts_silence_off_and_is_no_data() -> None:
    liveness = Liveness(5.0, 0.0)
    said = judge(liveness, 0.0, 100.0)
    assert said == [(PROBE_SECONDS, Verdict.PROBE), (FIRST_DATA_SECONDS, Verdict.MUTE)]


def test_data_is_a_sign_of_life() -> None:
    liveness = Liveness(5.0, 0.0)
    tick_each_second(liveness, 0.0, 100.0)


def test_a_quiet_spell_is_probed_once_and_the_next_one_again() -> None:
    liveness = Liveness(SILENCE, 0.0)
    tick_each_second(liveness, 0.0, 20.0)
    assert judge(liveness, 21.0, 29.0) == [(25.0, Verdict.PROBE)]
    tick_each_second(liveness, 29.5, 32.5)
    assert judge(liveness, 33.0, 38.0) == [(38.0, Verdict.PROBE)]


def test_a_socket_that_had_data_is_mute_after_ten_seconds_without() -> None:
    liveness = Liveness(SILENCE, 0.0)
    tick_each_second(liveness, 0.0, 5.0)
    assert judge(liveness, 6.0, 60.0)[-1] == (5.0 + MUTE_SECONDS, Verdict.MUTE)


def test_a_closed_market_is_never_mute_and_sends_no_probes() -> None:
    liveness = Liveness(SILENCE, 0.0)
    assert judge(liveness, 0.0, 100_000.0, trading=False) == []


def test_the_silence_of_a_closed_market_does_not_count_when_it_opens() -> None:
    liveness = Liveness(SILENCE, 0.0)
    tick_each_second(liveness, 0.0, 30.0)
    assert judge(liveness, 31.0, 60_000.0, trading=False) == []
    assert judge(liveness, 60_001.0, 60_004.0) == []
    assert judge(liveness, 60_005.0, 60_100.0) == [
        (60_005.0, Verdict.PROBE),
        (60_000.0 + MUTE_SECONDS, Verdict.MUTE),
    ]


@pytest.mark.parametrize("preopen", [False, True])
def test_a_night_is_no_habit_and_does_not_dull_the_next_morning(preopen: bool) -> None:
    liveness = Liveness(SILENCE, 0.0)
    tick_each_second(liveness, 0.0, 30.0)
    assert judge(liveness, 31.0, 59_500.0, trading=False) == []
    if preopen:
        liveness.ticked(59_500.5)  # after the call auction, with the market not yet open
    assert judge(liveness, 59_501.0, 60_000.0, trading=False) == []
    assert judge(liveness, 60_001.0, 60_003.0) == []
    tick_each_second(liveness, 60_003.5, 60_010.5)
    assert liveness.mute_limit == MUTE_SECONDS


def test_a_standstill_of_this_process_is_forgiven_and_is_no_habit() -> None:
    liveness = Liveness(SILENCE, 0.0)
    tick_each_second(liveness, 0.0, 30.0)
    liveness.forgive(500.0)
    assert liveness.verdict(500.0, trading=True) is None
    assert liveness.verdict(504.0, trading=True) is None
    tick_each_second(liveness, 504.5, 510.5)
    assert liveness.mute_limit == MUTE_SECONDS


def test_forgiveness_never_shortens_the_life_of_a_sign() -> None:
    liveness = Liveness(5.0, 0.0)
    liveness.heard(100.0)
    liveness.forgive(99.0)
    assert liveness.verdict(104.0, trading=False) is None
    assert liveness.verdict(105.0, trading=False) is Verdict.SILENT


def test_longer_pauses_are_learned_and_doubled_before_a_socket_is_given_up() -> None:
    liveness = Liveness(1000.0, 0.0)
    for at in (0.0, 8.0, 16.0, 24.0):
        liveness.ticked(at)
        assert [verdict for _, verdict in judge(liveness, at, at + 7)] == [Verdict.PROBE]
    assert liveness.mute_limit == 16.0
    assert judge(liveness, 32.0, 100.0)[-1] == (24.0 + 16.0, Verdict.MUTE)


def test_what_was_learned_outlives_the_socket() -> None:
    liveness = Liveness(1000.0, 0.0)
    for at in (0.0, 8.0, 16.0):
        liveness.ticked(at)
        judge(liveness, at, at + 7)
    liveness.opened(5000.0)
    assert liveness.mute_limit == FIRST_DATA_SECONDS
    liveness.ticked(5001.0)
    liveness.verdict(5001.0, trading=True)
    assert liveness.mute_limit == 16.0, "and the time between the two sockets is no habit"


def test_each_mute_socket_gives_its_successor_twice_the_time_up_to_a_limit() -> None:
    liveness = Liveness(SILENCE, 0.0)
    now, limits = 0.0, []
    for _ in range(8):
        liveness.opened(now)
        limits.append(liveness.mute_limit)
        (*_, (mute, verdict)) = judge(liveness, now, now + 2000)
        assert verdict is Verdict.MUTE
        assert mute - now == limits[-1]
        liveness.gave_up()
        now = mute
    assert limits == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, PATIENCE_SECONDS, PATIENCE_SECONDS]


def test_patience_has_no_end_however_often_sockets_were_mute() -> None:
    liveness = Liveness(SILENCE, 0.0)
    for _ in range(5000):  # weeks of them
        liveness.gave_up()
    assert liveness.mute_limit == PATIENCE_SECONDS


def test_only_data_that_comes_ten_seconds_into_a_socket_ends_the_doubling() -> None:
    liveness = Liveness(SILENCE, 0.0)
    liveness.gave_up()
    liveness.opened(100.0)
    liveness.ticked(100.1)  # the broker's first answer, which a mute socket gives too
    assert judge(liveness, 101.0, 110.0) == [(106.0, Verdict.PROBE)]
    assert liveness.mute_limit == 2 * MUTE_SECONDS
    liveness.ticked(100.0 + PROVEN_SECONDS)
    assert liveness.verdict(111.0, trading=True) is None
    assert liveness.mute_limit == pytest.approx(2 * 9.9), "twice the pause that was learned, once"


def test_a_rhythm_fades_with_each_sign_and_never_below_the_last_pause() -> None:
    rhythm = Rhythm()
    for at in (0.0, 100.0, 101.0):
        rhythm.look(at)
    assert rhythm.usual == pytest.approx(98.0)
    for n in range(1000):
        rhythm.look(102.0 + n)
    assert rhythm.usual == 1.0


def test_the_same_sign_seen_again_teaches_nothing() -> None:
    rhythm = Rhythm()
    for at in (0.0, 10.0, 10.0, 10.0):
        rhythm.look(at)
    assert rhythm.usual == 10.0
