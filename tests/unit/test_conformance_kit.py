"""The conformance kit finds what is wrong: each spoilt adapter fails what it breaks, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import hypothesis
import pytest

from brokerpool import Instrument, Mode, Tick
from brokerpool.brokers.account import DialRefusal
from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Login
from brokerpool.brokers.wire import ControlBatch, Farewell, MessageRun, Signal, SignalKind
from brokerpool.instruments import Token
from brokerpool.testing.conformance import AdapterConformance
from brokerpool.ticks import QuoteTick
from examples.own_broker import LIMITS_TABLE, AcmeFeed, AcmeWire
from tests.unit import test_dhan_conformance
from tests.unit import test_own_broker as sound

PROMISES = [name for name in dir(AdapterConformance) if name.startswith("test_")]
Routes = Mapping[Token, Instrument]


@pytest.fixture(autouse=True, scope="module")
def _unshrunk() -> Iterator[None]:
    """That a promise fails is all that is asked, with the same examples each time."""
    before = hypothesis.settings.get_current_profile_name()
    hypothesis.settings.register_profile(
        "unshrunk", deadline=None, phases=[hypothesis.Phase.generate], derandomize=True
    )
    hypothesis.settings.load_profile("unshrunk")
    yield
    hypothesis.settings.load_profile(before)


class Spoilt(sound.TestAcme):
    """The made-up broker's adapter with another wire or account."""

    examples = 50
    wire: type[AcmeWire] = AcmeWire
    feed: type[AcmeFeed] = AcmeFeed

    def account(self) -> AcmeFeed:
        account = super().account()
        account.__class__ = self.feed
        if self.wire is not AcmeWire:
            account.wire = lambda: self.wire(account.login.credentials.access_token)  # type: ignore[method-assign]
        return account


def broken(adapter: AdapterConformance) -> set[str]:
    """Return the promises that an adapter does not keep."""
    failed = set()
    for promise in PROMISES:
        try:
            getattr(adapter, promise)()
        except pytest.skip.Exception:
            pass
        except Exception:
            failed.add(promise)
    return failed


def test_an_adapter_that_is_sound_breaks_nothing() -> None:
    assert broken(Spoilt()) == set()
    assert len(PROMISES) == 20


# -- limits and account -----------------------------------------------------------------------------------


class Undated(Spoilt):
    def limits_table(self) -> Mapping[str, Mapping[str, Any]]:
        return {**LIMITS_TABLE, "depth_levels": {"value": 0, "source": "hearsay"}}


class OtherLimits(Spoilt):
    def account(self) -> AcmeFeed:
        account = super().account()
        account.limits = replace(account.limits, batch_size=50)
        return account


class WithoutBeats(Spoilt):
    """Says nowhere that the broker wants heartbeats."""

    def account(self) -> AcmeFeed:
        account = super().account()
        account.limits = FeedLimits.parse(self.limits_table())
        return account

    def limits_table(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: figure for name, figure in LIMITS_TABLE.items() if name != "heartbeat_seconds"}


class Chatty(AcmeFeed):
    """Shows its token to whoever looks."""

    def __repr__(self) -> str:
        return f"<Chatty {self.login.credentials.access_token}>"


class Loud(AcmeWire):
    """Logs its token."""

    def hello(self) -> list[str]:
        logging.getLogger("acme").info("logging in with %s", self._token)
        return super().hello()


class Forgetful(AcmeFeed):
    """Uses the token of the first day for ever."""

    login: Login

    def wire(self) -> AcmeWire:
        return AcmeWire("conformance-token")


class Puzzled(AcmeFeed):
    """Takes it that a refused dial always has a status."""

    def refused(self, status: int | None) -> DialRefusal:
        return DialRefusal.PARK if status and status // 100 == 4 else "later"  # type: ignore[return-value]


# -- wires ------------------------------------------------------------------------------------------------


class Shared(AcmeWire):
    skipped_by_all: dict[str, int] = {"unknown_id": 0, "malformed": 0}  # noqa: RUF012

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.skipped = self.skipped_by_all


class Stuck(AcmeWire):
    """Never tells that a mode has changed."""

    def requests(self, batch: ControlBatch) -> list[str]:
        return super().requests(replace(batch, remode={}))


class OneByOne(AcmeWire):
    """Drops what was never asked for."""

    def requests(self, batch: ControlBatch) -> list[str]:
        strange = [token for token in batch.remode if batch.remode[token] is Mode.LTP]
        return [*super().requests(ControlBatch(drop=strange)), *super().requests(batch)]


class Thin(AcmeWire):
    """Makes a price of everything."""

    def text(self, message: str, routes: Routes, received_ms: int) -> list[Tick]:
        ticks = super().text(message, routes, received_ms)
        return [Tick(t.instrument, t.ltp, t.timestamp) if isinstance(t, QuoteTick) else t for t in ticks]


class Inventive(AcmeWire):
    """Makes ticks of what nobody asked for."""

    def text(self, message: str, routes: Routes, received_ms: int) -> list[Tick]:
        known: dict[Token, Instrument] = {n: Instrument("NSE", f"S{n}") for n in range(1, 13)}
        return super().text(message, {**known, **routes}, received_ms)


class Fragile(AcmeWire):
    def text(self, message: str, routes: Routes, received_ms: int) -> list[Tick]:
        if not message.startswith("{"):
            raise ValueError(message)
        return super().text(message, routes, received_ms)


class Lossy(AcmeWire):
    """Loses the end of a long message."""

    def parts(self, message: str | bytes) -> Sequence[str | bytes]:
        return super().parts(message)[:-1] or [message]


class Slow(AcmeWire):
    """Reads a long message in one turn."""

    def parts(self, message: str | bytes) -> Sequence[str | bytes]:
        return [message]


class Deaf(AcmeWire):
    """Hears `kind` as information for people."""

    kind = SignalKind.ORDER_UPDATE

    def text(self, message: str, routes: Routes, received_ms: int) -> list[Tick]:
        ticks = super().text(message, routes, received_ms)
        self.signals[:] = [
            Signal(SignalKind.TOLD, s.text) if s.kind is self.kind else s for s in self.signals
        ]
        return ticks


class DeafToLogins(Deaf):
    kind = SignalKind.LOGIN_REFUSED


class Nameless(AcmeWire):
    """Keeps the names of refused symbols to itself."""

    def text(self, message: str, routes: Routes, received_ms: int) -> list[Tick]:
        ticks = super().text(message, routes, received_ms)
        self.signals[:] = [signal._replace(tokens=()) for signal in self.signals]
        return ticks


class Impolite(AcmeWire):
    """Does not know an eviction."""

    def farewell(self, code: int, reason: str) -> Farewell:
        return Farewell.LOST if code == 4002 else super().farewell(code, reason)


class Ascii(AcmeWire):
    def farewell(self, code: int, reason: str) -> Farewell:
        reason.encode("ascii")
        return super().farewell(code, reason)


class Pulseless(AcmeWire):
    def heartbeat(self) -> str:
        return ""


def with_wire(wire: type[AcmeWire]) -> AdapterConformance:
    spoilt = Spoilt()
    spoilt.wire = wire
    return spoilt


def with_feed(feed: type[AcmeFeed]) -> AdapterConformance:
    spoilt = Spoilt()
    spoilt.feed = feed
    return spoilt


SPOILT: list[tuple[AdapterConformance, set[str]]] = [
    (Undated(), {"limits_cite_their_source_and_date"}),
    (OtherLimits(), {"limits_cite_their_source_and_date"}),
    (WithoutBeats(), {"signs_of_life_are_what_each_side_takes_for_them"}),
    (
        with_wire(Pulseless),
        {"signs_of_life_are_what_each_side_takes_for_them", "signs_of_life_leave_in_time"},
    ),
    (with_feed(Chatty), {"secrets_never_show"}),
    (with_wire(Loud), {"secrets_never_show"}),
    (
        with_feed(Forgetful),
        {
            "the_present_login_is_used_for_each_socket",
            "a_login_that_has_ended_is_not_tried_again_and_the_next_one_restores_everything",
        },
    ),
    (with_feed(Puzzled), {"no_end_and_no_refused_dial_makes_the_adapter_raise"}),
    (with_wire(Shared), {"each_socket_has_a_wire_of_its_own"}),
    (with_wire(Stuck), {"requests_lead_the_broker_to_what_is_wanted"}),
    (with_wire(OneByOne), {"requests_lead_the_broker_to_what_is_wanted"}),
    (with_wire(Thin), {"each_mode_brings_its_tick"}),
    (with_wire(Inventive), {"what_nobody_asked_for_is_no_tick"}),
    (with_wire(Fragile), {"no_message_makes_the_wire_raise"}),
    (with_wire(Lossy), {"a_long_message_reads_the_same_in_parts"}),
    (with_wire(Slow), {"a_long_message_reads_the_same_in_parts"}),
    (with_wire(Deaf), {"what_the_broker_says_besides_ticks_is_a_signal"}),
    (with_wire(DeafToLogins), {"what_the_broker_says_besides_ticks_is_a_signal"}),
    (
        with_wire(Nameless),
        {
            "what_the_broker_says_besides_ticks_is_a_signal",
            "a_refused_symbol_stands_refused_and_the_others_tick",
        },
    ),
    (with_wire(Impolite), {"a_socket_that_gave_way_to_another_is_told_from_one_that_was_lost"}),
    (with_wire(Ascii), {"no_end_and_no_refused_dial_makes_the_adapter_raise"}),
]


def named(given: object) -> str | None:
    if not isinstance(given, Spoilt):
        return None
    kinds = (type(given), given.wire, given.feed)
    return next((k.__name__ for k in kinds if k not in (Spoilt, AcmeWire, AcmeFeed)), "?")


class Hasty(DhanWire):
    """Forgets the last of the messages that were read together."""

    def run(self, run: MessageRun, routes: Routes, received_ms: int) -> list[Tick]:
        return super().run(run, routes, received_ms)[:-1]


class ReadsTogether(test_dhan_conformance.TestDhan):
    """A broker that sends each packet in a message of its own, with another wire."""

    __test__ = False
    examples = 5

    def account(self) -> DhanFeed:
        account = super().account()
        account.wire = Hasty  # type: ignore[method-assign]
        return account


def test_messages_that_read_otherwise_together_are_found() -> None:
    with pytest.raises(AssertionError, match="one by one"):
        ReadsTogether().test_messages_that_are_read_together_read_the_same_as_alone()


@pytest.mark.parametrize(("adapter", "promises"), SPOILT, ids=named)
def test_a_spoilt_adapter_fails_what_it_breaks(adapter: AdapterConformance, promises: set[str]) -> None:
    assert broken(adapter) == {f"test_{promise}" for promise in promises}
