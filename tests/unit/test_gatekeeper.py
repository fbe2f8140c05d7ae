"""The gatekeeper: which keys open what, the share of each, and guessing that costs the others nothing."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterable

import pytest

from brokerpool.errors import AccessError, ErrorCode
from brokerpool.event_journal import Event, Journal
from brokerpool.gateway import lockout
from brokerpool.gateway.client_replies import refused_key
from brokerpool.gateway.gatekeeper import OWN, Caller, Gatekeeper, KeyLimits
from brokerpool.store.keys import Key, KeyRing, Scope, digest, new_key
from tests.clock import Clock

OWNERS = "the-operators-own-key"
LIMITS = KeyLimits(clients=2, symbols=10, requests=3, seconds=1.0)
HERE, THERE = "10.0.0.1", "10.0.0.2"


class Seat:
    """A client that remembers whether it was dismissed."""

    def __init__(self, symbols: int = 0) -> None:
        self.symbols = symbols
        self.dismissed = 0

    def dismiss(self) -> None:
        self.dismissed += 1


class House:
    """A gatekeeper with keys, a clock and a journal."""

    def __init__(self, own: str = OWNERS, limits: KeyLimits = LIMITS) -> None:
        self.clock, self.journal, self.ring = Clock(1000.0), Journal(wall_clock=lambda: 0), KeyRing()
        self.rows: list[Key] = []
        self.keeper = Gatekeeper(own, self.ring.check, limits, self.journal, self.clock)
        self.ring.watch(self.keeper.revoked)

    def key(self, name: str, scopes: Iterable[Scope] = (Scope.DATA,)) -> str:
        text = new_key()
        self.rows.append(Key(len(self.rows) + 1, name, digest(text), frozenset(scopes), 0))
        self.ring.replace(self.rows)
        return text

    def refusal(self, key: str, address: str = HERE, scope: Scope = Scope.DATA) -> AccessError:
        with pytest.raises(AccessError) as caught:
            self.keeper.admit(address, key, scope)
        return caught.value

    def told(self, event: Event) -> list[str]:
        return [entry.reason for entry in self.journal.entries() if entry.event is event]


@pytest.mark.parametrize("own", [OWNERS, ""])
@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(
    "scopes", [(), (Scope.DATA,), (Scope.ORDERS,), (Scope.ADMIN,), (Scope.METRICS,), tuple(Scope)]
)
def test_a_key_opens_what_its_scopes_name_and_nothing_else(
    scopes: tuple[Scope, ...], scope: Scope, own: str
) -> None:
    house = House(own)
    text = house.key("strategy", scopes)
    # Who may see every page of the operator's may see that one.
    if scope in scopes or (scope is Scope.METRICS and Scope.ADMIN in scopes):
        assert house.keeper.admit(HERE, text, scope).name == "strategy"
    else:
        assert house.refusal(text, scope=scope).code is ErrorCode.SCOPE_MISSING
        assert house.keeper.lockout.wrong_keys == 0, "that was no guess"


def test_the_key_of_the_settings_allows_everything_but_orders_and_none_is_no_key() -> None:
    house = House()
    for scope in set(Scope) - {Scope.ORDERS}:
        assert house.keeper.admit(HERE, OWNERS, scope).key_id == OWN
    assert house.refusal(OWNERS, scope=Scope.ORDERS).code is ErrorCode.SCOPE_MISSING
    trading = Gatekeeper(OWNERS, lambda text: None, LIMITS, house.journal, house.clock, own_orders=True)
    assert all(trading.admit(HERE, OWNERS, scope).key_id == OWN for scope in Scope)
    for text in ("", "x" * 257, OWNERS[:-1], "\ud800"):
        assert house.refusal(text).code is ErrorCode.AUTHENTICATION_ERROR
        assert House(own="").refusal(text).code is ErrorCode.AUTHENTICATION_ERROR


def test_ten_wrong_keys_lock_an_address_out_for_a_minute_and_right_ones_open_everywhere() -> None:
    house = House()
    text = house.key("strategy")
    codes = [house.refusal("wrong").code for _ in range(12)]
    assert codes == [ErrorCode.AUTHENTICATION_ERROR] * 9 + [ErrorCode.ADDRESS_LOCKED_OUT] * 3
    house.clock.now += 20
    assert house.refusal("wrong").retry_after == 40
    for address in (HERE, THERE):
        assert house.keeper.admit(address, text, Scope.DATA)
        assert house.keeper.admit(address, OWNERS, Scope.DATA)
    assert house.refusal("wrong", THERE).code is ErrorCode.AUTHENTICATION_ERROR
    house.clock.now += 40
    assert house.refusal("wrong").code is ErrorCode.AUTHENTICATION_ERROR, "the time is up"


def test_wrong_keys_that_come_seldom_lock_nobody_out() -> None:
    house = House()
    for _ in range(50):
        assert house.refusal("wrong").code is ErrorCode.AUTHENTICATION_ERROR
        house.clock.now += 7


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    house = House()
    codes = [house.refusal("wrong", f"2001:db8:0:1::{n:x}").code for n in range(1, 11)]
    assert codes[-1] is ErrorCode.ADDRESS_LOCKED_OUT
    assert house.refusal("wrong", "2001:db8:0:2::1").code is ErrorCode.AUTHENTICATION_ERROR


def test_a_hundred_thousand_wrong_keys_take_a_small_part_of_a_minute_and_bounded_memory() -> None:
    house = House()
    text = house.key("strategy")
    wrong = [new_key() for _ in range(100_000)]
    tracemalloc.start()
    began = time.process_time()
    for n, guess in enumerate(wrong):
        try:
            house.keeper.admit(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", guess, Scope.DATA)
        except AccessError:
            continue
    spent, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.process_time()
    for _ in range(1000):
        house.keeper.admit(HERE, text, Scope.DATA)
    each = (time.process_time() - began) / 1000
    print(f"100,000 wrong keys: {spent:.2f} s of CPU, {peak / 1e6:.1f} MB; a right one: {each * 1e6:.1f} us")
    assert house.keeper.lockout.wrong_keys == 100_000
    assert spent < 10, "with the tracing of memory, which makes it several times slower"
    assert peak < 10e6
    assert each < 0.0005


def test_guessing_leaves_few_lines_in_the_journal_however_many_addresses_guess() -> None:
    house = House()
    for n in range(200):
        for _ in range(11):
            house.refusal("wrong", f"10.0.0.{n}")
    house.clock.now += 60
    house.keeper.lockout.review()
    assert len(house.told(Event.LOCKED_OUT)) == 20
    assert house.told(Event.WRONG_KEYS)[-1] == "2090 from 190 other addresses"
    assert len(house.told(Event.WRONG_KEYS)) == 11
    assert len(house.journal) <= 60
    house.clock.now += 60
    house.keeper.lockout.review()
    assert len(house.told(Event.WRONG_KEYS)) == 11, "nothing new"


def test_a_lock_out_its_end_and_the_wrong_keys_are_in_the_journal_and_no_key_is() -> None:
    house = House()
    text = house.key("strategy")
    for _ in range(11):
        house.refusal("a-wrong-secret")
    house.keeper.admit(THERE, text, Scope.DATA)
    house.keeper.admit(HERE, text, Scope.DATA)
    house.clock.now += 60
    house.keeper.lockout.review()
    assert house.told(Event.LOCKED_OUT)[0].startswith(f"{HERE} sent 10 wrong keys")
    assert house.told(Event.LOCK_OUT_ENDED) == [HERE]
    assert house.told(Event.WRONG_KEYS) == [f"11 from {HERE}"]
    assert house.told(Event.KEY_USED) == [f"strategy, first from {THERE}"]
    everything = repr(house.journal.entries()) + repr(house.keeper.lockout)
    assert text not in everything
    assert "a-wrong-secret" not in everything


def test_however_many_addresses_guess_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "MAX_ADDRESSES", 3)
    house = House()
    for n in range(10):
        for _ in range(10):
            house.refusal("wrong", f"10.0.0.{n}")
    assert house.keeper.lockout.locked == 3
    assert house.refusal("wrong", "10.0.0.9").code is ErrorCode.ADDRESS_LOCKED_OUT
    assert house.refusal("wrong", "10.0.0.0").code is ErrorCode.AUTHENTICATION_ERROR, "forgotten"


def enter(house: House, text: str, seat: Seat) -> Caller:
    caller = house.keeper.admit(HERE, text, Scope.DATA)
    house.keeper.enter(caller, seat)
    return caller


def test_each_key_has_its_share_of_clients_symbols_and_requests_and_the_operators_has_the_whole() -> None:
    house = House()
    text, other = house.key("strategy"), house.key("other")
    seats = [Seat(4), Seat(5), Seat(0)]
    caller = enter(house, text, seats[0])
    enter(house, text, seats[1])
    with pytest.raises(AccessError, match="KEY_CLIENT_LIMIT: 2 clients"):
        enter(house, text, seats[2])
    assert house.keeper.room(caller) == 1
    assert [house.keeper.delay(caller) for _ in range(4)] == [0, 0, 0, 1]
    with pytest.raises(AccessError, match="KEY_RATE_LIMIT") as caught:
        house.keeper.spend(caller)
    assert caught.value.retry_after == 1
    stranger = enter(house, other, seats[2])
    assert (house.keeper.room(stranger), house.keeper.delay(stranger)) == (10, 0)
    house.clock.now += 1
    assert house.keeper.delay(caller) == 0
    house.keeper.leave(caller, seats[1])
    enter(house, text, seats[2])
    for _ in range(10):
        owner = enter(house, OWNERS, Seat(1000))
        assert (house.keeper.room(owner), house.keeper.delay(owner)) == (None, 0)


def test_the_clients_of_a_revoked_key_are_dismissed_and_nobody_elses() -> None:
    house = House()
    text, other = house.key("strategy"), house.key("other")
    seats = [Seat(), Seat(), Seat()]
    enter(house, text, seats[0])
    enter(house, text, seats[1])
    enter(house, other, seats[2])
    house.ring.replace(house.rows[1:])
    assert [seat.dismissed for seat in seats] == [1, 1, 0]
    assert house.told(Event.KEY_REVOKED) == ["strategy; 2 clients are closed"]
    assert house.refusal(text).code is ErrorCode.AUTHENTICATION_ERROR


def test_no_refusal_looks_like_a_welcome_to_a_client_that_searches_the_text() -> None:
    house = House()
    text = house.key("strategy", (Scope.ADMIN,))
    refusals = [house.refusal("wrong") for _ in range(10)] + [house.refusal(text)]
    data = house.key("data")
    for _ in range(2):
        enter(house, data, Seat())
    with pytest.raises(AccessError) as caught:
        enter(house, data, Seat())
    for error in (*refusals, caught.value):
        said = refused_key(error.fault, error.code).decode().lower()
        assert "ok" not in said
        assert "success" not in said
