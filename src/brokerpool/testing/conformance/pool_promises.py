"""The promises of an adapter that show in a pool: over the scripted broker, in virtual time."""

from __future__ import annotations

import asyncio
import logging

import pytest

from brokerpool.brokers.account import Account
from brokerpool.brokers.wire import Farewell
from brokerpool.event_journal import Event
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.testing.conformance.adapter_under_test import Subject
from brokerpool.testing.scenario import Stage
from brokerpool.testing.scripted_broker import Greeting, Refusal
from brokerpool.ticks import Mode

#: Longer than the longest rest between two dials.
_A_WHILE = 130.0


class PoolPromises(Subject):
    """What is tried with a pool: nothing may be left or be raised, and no limit be exceeded."""

    def test_symbols_come_to_life_in_the_mode_that_is_wanted(self) -> None:
        async def scenario(scene: Stage[Account]) -> None:
            await self.all_live(scene)
            assert scene.broker.served() == scene.due(), "the broker serves what nobody wants"
            scene.pool.release("conformance")
            await scene.until(lambda: not scene.broker.served(), 60, "every symbol dropped")

        self.rehearse(scenario)

    def test_a_reconnect_restores_everything(self) -> None:
        async def scenario(scene: Stage[Account]) -> None:
            instruments = await self.all_live(scene)
            scene.broker.kill_all()
            await scene.until(lambda: not scene.all_live(), 60, "the loss noticed")
            await scene.until(scene.all_live, _A_WHILE, "every symbol live again")
            assert scene.broker.served() == scene.due(), "the broker serves something else than before"
            in_gaps = [str(i) for i in instruments if scene.pool.gap(i) is not None]
            assert not in_gaps, f"ticks came, and these are in a gap: {in_gaps}"

        self.rehearse(scenario)

    def test_a_login_that_has_ended_is_not_tried_again_and_the_next_one_restores_everything(self) -> None:
        async def scenario(scene: Stage[Account]) -> None:
            await self.all_live(scene)
            dials = len(scene.broker.ledger.dials)
            scene.broker.expire(self.said(self.next_login), politely=True)
            await scene.until(lambda: scene.feed.login.refused, _A_WHILE, "the end of the login noticed")
            await asyncio.sleep(_A_WHILE)
            more = len(scene.broker.ledger.dials) - dials
            assert more <= 2, f"{more} dials were made with a login that has ended"
            scene.feed.login.renew(self.next_login)
            await scene.until(scene.all_live, _A_WHILE, "every symbol live with the new login")
            assert scene.broker.served() == scene.due(), "the broker serves something else than before"

        self.rehearse(scenario)

    def test_a_login_on_the_socket_is_answered_before_anything_is_asked(self) -> None:
        if self.dialect().ready() is None:
            pytest.skip("no login is said on the socket: where one is, the dialect has ready()")

        async def scenario(scene: Stage[Account]) -> None:
            scene.broker.greeting = None
            scene.pool.subscribe(next(iter(scene.feed.book)), Mode.LTP)
            await asyncio.sleep(30)
            states = [c["state"] for c in scene.pool.get_pool_stats()["websocket"]["per_connection"]]
            assert "live" not in states, "a socket is live though its login was not answered"
            scene.broker.greeting = Greeting.JUDGE
            await scene.until(scene.all_live, _A_WHILE, "the symbol live")

        self.rehearse(scenario)

    def test_signs_of_life_leave_in_time(self) -> None:
        period = self.account().limits.heartbeat_seconds
        if not period:
            pytest.skip("no signs of life are wanted: where they are, the limits have heartbeat_seconds")

        async def scenario(scene: Stage[Account]) -> None:
            await self.all_live(scene)
            dials = len(scene.broker.ledger.dials)
            await asyncio.sleep(5 * period)
            assert len(scene.broker.ledger.dials) == dials, "the broker ended a socket for want of one"

        self.rehearse(scenario)

    def test_a_refused_symbol_stands_refused_and_the_others_tick(self) -> None:
        if self.dialect().refused([], "") is None:
            pytest.skip("no symbol is refused by name: where one is, the dialect has refused()")

        async def scenario(scene: Stage[Account]) -> None:
            token, symbol = next(iter(self.players(scene.feed).items()))
            scene.broker.refused[token] = Mode.LTP
            others = [i for i in self.players(scene.feed).values() if i != symbol]
            pool = scene.pool
            pool.subscribe([symbol, *others], Mode.LTP, partial=True)
            await scene.until(lambda: pool.state(symbol) is SymbolState.REFUSED, 60, "the symbol refused")
            live = [i for i in others if pool.demand.mode(i) is not None]
            all_live = lambda: all(pool.state(i) is SymbolState.LIVE for i in live)  # noqa: E731
            await scene.until(all_live, 60, "the other symbols live")
            assert "not in your plan" in pool.explain(symbol).why, "the broker's reason is not told"

        self.rehearse(scenario)

    def test_a_socket_that_gave_way_to_another_is_told_from_one_that_was_lost(self) -> None:
        dialect = self.dialect()
        if dialect.evicted_code is None and dialect.last_words(Farewell.EVICTED) is None:
            pytest.skip("no eviction is told: where one is, the dialect has evicted_code or last_words")

        async def scenario(scene: Stage[Account]) -> None:
            await self.all_live(scene)
            scene.broker.evict()
            await scene.until(lambda: scene.pool.journal.counts().get(Event.EVICTED.value), 5, "told")

        self.rehearse(scenario)

    def test_secrets_never_show(self) -> None:
        shown: list[str] = []

        async def scenario(scene: Stage[Account]) -> None:
            feed, pool = scene.feed, scene.pool
            instruments = await self.all_live(scene)
            shown.extend(map(repr, (feed, feed.login, feed.wire(), await feed.endpoint(), pool)))
            scene.broker.refusal = Refusal(503, count=2)
            scene.broker.kill_all()
            await scene.until(lambda: not scene.all_live(), 60, "the loss noticed")
            await scene.until(scene.all_live, _A_WHILE, "every symbol live again")
            scene.broker.expire(self.said(self.next_login), politely=True)
            await scene.until(lambda: feed.login.refused, _A_WHILE, "the end of the login noticed")
            shown.extend([str(pool.get_pool_stats()), *map(str, pool.journal.entries())])
            shown.extend(str(pool.explain(instrument)) for instrument in instruments)

        logins = (self.account().login.credentials, self.next_login)
        secrets = {*self.secrets, *(token for c in logins for token in (c.access_token, self.said(c)))}
        with _Log() as log:
            self.rehearse(scenario)
        for text in (*shown, *log.lines):
            assert not any(secret in text for secret in secrets), f"a secret stands in {text[:60]!r}..."


class _Log(logging.Handler):
    """Keeps all that is logged anywhere."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._level = logging.root.level

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.__dict__}")

    def __enter__(self) -> _Log:
        logging.root.addHandler(self)
        logging.root.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *error: object) -> None:
        logging.root.setLevel(self._level)
        logging.root.removeHandler(self)
