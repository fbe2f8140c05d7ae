"""The routing of several accounts: one home and one feeder each, and decisions from plain values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brokerpool.feed.routing_table import (
    HOLD_SECONDS,
    MOST_HOLD_SECONDS,
    RELAPSE_SECONDS,
    Due,
    Order,
    Presence,
    RoutingTable,
    Service,
    Steadiness,
    Way,
    due,
    order,
)
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, QuoteTick, Tick

ACCOUNTS = 3
INSTRUMENTS = [Instrument("NSE", name) for name in ("INFY", "SBIN", "TCS", "WIPRO")]
instruments = st.sampled_from(INSTRUMENTS)
accounts = st.integers(0, ACCOUNTS - 1)
seconds = st.floats(0, 100)
services = st.lists(st.tuples(st.sampled_from(Service), st.floats(0.1, 5)), max_size=40)


class RoutingMachine(RuleBasedStateMachine):
    """Whatever comes in whatever order, the indexes say what the ways say."""

    def __init__(self) -> None:
        super().__init__()
        self.table = RoutingTable(ACCOUNTS)
        #: Who feeds each symbol and has carried it since its last tick without a break.
        self.feeders: dict[Instrument, int | None] = {}

    @rule(instrument=instruments, account=accounts, priority=st.integers(-2, 2))
    def enter(self, instrument: Instrument, account: int, priority: int) -> None:
        if instrument not in self.table.ways:
            self.table.enter(instrument, account, Mode.LTP, priority)
            self.feeders[instrument] = account

    @precondition(lambda self: bool(self.table.ways))
    @rule(data=st.data(), account=accounts)
    def move(self, data: st.DataObject, account: int) -> None:
        instrument = data.draw(st.sampled_from([*self.table.ways]))
        way = self.table.ways[instrument]
        choices = ["remove", "feed", "floor"]
        choices += ["host"] if account != way.home else []
        choices += ["leave", "stay"] if way.guest is not None else []
        choices += ["rehome"] if way.guest is None and account != way.home else []
        home, guest = way.home, way.guest
        match data.draw(st.sampled_from(choices)):
            case "remove":
                self.table.remove(instrument)
            case "feed":
                self.feeders[instrument] = feeder = data.draw(st.sampled_from(way.carriers))
                self.table.feed(instrument, feeder)
            case "floor":
                self.table.keep_floor(instrument, Tick(instrument, 1.0, 7), 1.0)
            case "host":
                self.table.host(instrument, account)
                self.lets_go(instrument, guest)
            case "leave":
                self.table.leave(instrument)
                self.lets_go(instrument, guest)
            case "stay":
                self.table.stay(instrument)
                self.lets_go(instrument, home)
            case "rehome":
                self.table.rehome(instrument, account)

    def lets_go(self, instrument: Instrument, account: int | None) -> None:
        if self.feeders[instrument] == account:
            self.feeders[instrument] = None

    @invariant()
    def each_symbol_is_at_home_once_and_a_guest_elsewhere_at_most_once(self) -> None:
        for number in range(ACCOUNTS):
            ways = self.table.ways.items()
            assert set(self.table.homes[number]) == {i for i, way in ways if way.home == number}
            assert set(self.table.guests[number]) == {i for i, way in ways if way.guest == number}
            away = [i for i, way in ways if way.home == number and way.guest is not None]
            assert self.table.away[number] == len(away)
        assert all(way.home != way.guest for way in self.table.ways.values())

    @invariant()
    def the_ticks_of_a_symbol_are_judged_wherever_they_may_not_go_on_from_the_last_that_passed(self) -> None:
        for number in range(ACCOUNTS):
            judged = {
                i
                for i, way in self.table.ways.items()
                if number in way.carriers
                and (len(way.carriers) > 1 or self.feeders[i] != number or way.floor is not None)
            }
            assert set(self.table.judged[number]) == judged

    @invariant()
    def the_weakest_guests_are_those_of_the_lowest_priority(self) -> None:
        for number in range(ACCOUNTS):
            ranked = [self.table.ways[i].priority for i in self.table.weakest(number, 10)]
            assert ranked == sorted(ranked)
            assert len(ranked) == len(self.table.guests[number])


TestRouting = RoutingMachine.TestCase


def presence(seen: list[tuple[Service, float]]) -> tuple[Presence, float]:
    found, now = Presence(), 0.0
    for service, pause in seen:
        now += pause
        found.saw(service, now)
    return found, now


@given(services, st.floats(0, 10))
def test_an_account_is_out_only_after_the_grace_and_never_while_it_is_steady(
    seen: list[tuple[Service, float]], grace: float
) -> None:
    found, now = presence(seen)
    if found.out(now, grace) and not found.refused:
        assert found.out_since is not None
        assert now - found.out_since >= grace
    if seen and seen[-1][0] in (Service.OUT, Service.REFUSED):
        assert not found.steady(now, 0.0)
        assert found.out_since is not None
    if not any(service in (Service.OUT, Service.REFUSED) for service, _ in seen):
        assert not found.out(now, 0.0)


@given(services)
def test_good_moments_shorter_than_two_seconds_do_not_end_an_outage(
    seen: list[tuple[Service, float]],
) -> None:
    found, now = Presence(), 0.0
    found.saw(Service.OUT, now)
    for service, pause in seen:
        for each, step in ((service, min(pause, 0.9)), (Service.OUT, 0.9)):
            now += step
            found.saw(each, now)
    assert found.out_since == 0.0


@given(
    st.none() | st.integers(1, 2),
    st.integers(0, 2),
    st.none() | seconds,
    st.none() | seconds,
    st.none() | seconds,
    seconds,
    st.booleans(),
)
def test_what_is_due_follows_from_the_rules(
    guest: int | None,
    feeding: int,
    home_out: float | None,
    home_served: float | None,
    guest_out: float | None,
    now: float,
    ticks_at_home: bool,
) -> None:
    way = Way(0, feeding, Mode.LTP, 0, guest)
    way.at_home = Presence(home_out, home_served)
    way.at_guest = Presence(guest_out, None)
    step = due(way, now, grace=5.0, hold=3.0, ticks_at_home=ticks_at_home)
    home_is_out = way.at_home.out(now, 5.0)
    if step is Due.LEND:
        assert home_is_out, "nothing moves while its home serves it"
        assert guest is None or way.at_guest.out(now, 5.0), "what another one serves stays there"
    if step is Due.COME_HOME:
        assert guest is not None
        assert way.at_home.steady(now, 3.0), "nothing goes home before that has lasted"
        assert feeding == 0 or ticks_at_home, "made before it is broken"
    if guest is None and home_is_out:
        assert step is Due.LEND


@given(st.booleans(), accounts, st.none() | seconds, seconds)
def test_another_account_takes_over_only_in_the_dark_or_at_home(
    dark: bool, account: int, served: float | None, now: float
) -> None:
    way = Way(0, 1, Mode.LTP, 0, 1)
    way.at_home = Presence(None, served)
    takes = way.takes_over(account, dark=dark, now=now, hold=3.0)
    assert takes == (dark or (account == 0 and served is not None and now - served >= 3.0))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 400)), max_size=30))
def test_the_hold_doubles_with_each_return_that_was_too_soon_and_is_bounded(
    deeds: list[tuple[bool, float]],
) -> None:
    account, now, returned_at = Steadiness(), 0.0, None
    for returns, pause in deeds:
        now += pause
        before = account.hold
        if returns:
            account.returned(now)
            returned_at = now
        else:
            account.went_out(now)
            if returned_at is None:
                assert account.hold == before
            elif now - returned_at < RELAPSE_SECONDS:
                assert account.hold == min(MOST_HOLD_SECONDS, 2 * before)
            else:
                assert account.hold == HOLD_SECONDS
            returned_at = None
        assert HOLD_SECONDS <= account.hold <= MOST_HOLD_SECONDS


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 120))
def test_a_tick_is_older_only_by_a_time_that_it_has_and_for_a_minute(
    timestamp: int, floor: int, age: float
) -> None:
    lies = order(Tick(INSTRUMENTS[0], 1.0, timestamp), Tick(INSTRUMENTS[0], 1.0, floor), age)
    assert lies is (Order.OLDER if timestamp != 0 and timestamp < floor and age < 60 else Order.NEWER)


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 100), st.integers(1, 100))
def test_the_days_volume_tells_for_a_while_which_trade_is_the_later_one_whatever_the_times_say(
    volume: int, before: int, timestamp: int, floor: int
) -> None:
    tick = QuoteTick(INSTRUMENTS[0], 1.0, timestamp, volume=volume)
    last = QuoteTick(INSTRUMENTS[0], 1.0, floor, volume=before)
    # Brokers may count it in ways of their own, and an index has none.
    by_time = Order.OLDER if timestamp < floor else Order.NEWER
    assert order(tick, last, 6.0) is by_time
    assert order(QuoteTick(INSTRUMENTS[0], 1.0, timestamp), last, 1.0) is by_time
    if volume == before:
        assert order(tick, last, 1.0) is (Order.OLDER if timestamp < floor else Order.SAME)
    else:
        assert order(tick, last, 1.0) is (Order.OLDER if volume < before else Order.NEWER)
