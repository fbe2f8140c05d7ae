"""RemoteUpstream: the accounts of a cluster's feed nodes as the one upstream of a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from brokerpool import argument_checks
from brokerpool.callback_isolation import Fence
from brokerpool.cluster import subjects as names
from brokerpool.cluster.bus import Bus, BusError
from brokerpool.cluster.durations import SHARDS, Timing
from brokerpool.cluster.messages import (
    FORMAT,
    Decoder,
    GatewaySign,
    OperatorOrder,
    SliceAnswer,
    encode,
)
from brokerpool.cluster.remote_account import Surroundings
from brokerpool.cluster.remote_accounts import RemoteAccounts
from brokerpool.cluster.remote_demand import RemoteDemand
from brokerpool.cluster.remote_inspection import RemoteInspection
from brokerpool.cluster.subjects import SUBJECTS, Subjects
from brokerpool.errors import BrokerpoolError, ErrorCode, PoolClosedError
from brokerpool.event_journal import Event, Journal
from brokerpool.feed import refusals
from brokerpool.feed.demand import Demand
from brokerpool.feed.gaps import Gap, GapBook
from brokerpool.feed.listeners import Listeners, PoolListener
from brokerpool.feed.symbol_explanation import AccountStatus
from brokerpool.feed.upstream_interface import Answer
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import Mode

logger = logging.getLogger("brokerpool.cluster")

#: Once one account's list is there, those of others are waited for so long when a gateway starts.
_PATIENCE_SECONDS = 5.0
#: Between two looks at what is silent and overdue.
_LOOK_SECONDS = 0.25
#: Every so many of them it is seen which symbols have to move.
_MOVES_LOOKS = 2
_answer = Decoder(SliceAnswer)


class _Bookkeeping(PoolListener):
    """Keeps what is held here in line with what the accounts tell, before others hear of it."""

    def __init__(self, upstream: RemoteUpstream) -> None:
        self._upstream = upstream

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self._upstream.gaps_told(gaps)

    def delisted(self, instruments: list[Instrument]) -> None:
        self._upstream.delisted(instruments)


class RemoteUpstream:
    """Brings ticks of accounts that other processes hold, as an `Upstream` does.

    Everything happens on one event loop; what is asked of it is answered from what is known here.
    """

    def __init__(
        self,
        bus: Bus,
        accounts: Sequence[str],
        *,
        gateway: str,
        timing: Timing | None = None,
        subjects: Subjects = SUBJECTS,
        shards: int = SHARDS,
        grace: float = 5.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`gateway` must be the name of this process alone, also of one that was here before it.

        `accounts` are in order of preference, the same at every gateway: a symbol has its home at the first
        that lists it and has room. While that is out for `grace` seconds others carry it.
        """
        self.gateway = gateway
        self._closed = False
        self.journal = Journal(wall_clock=wall_clock)
        self._bus, self._subjects, self._timing = bus, subjects, timing or Timing()
        self._loop = asyncio.get_running_loop()
        fence = Fence("remote upstream", lambda reason: self.journal.note(Event.FAULT, reason=reason))
        self._listeners = listeners = Listeners(fence)
        listeners.add(_Bookkeeping(self))
        told = listeners, GapBook(), self.journal
        around = Surroundings(bus, gateway, subjects, self._timing, shards, wall_clock, *told)
        self._accounts = RemoteAccounts(around, listeners, fence, grace)
        self._members, self._placement = self._accounts.members, self._accounts.placement
        self._wanted = RemoteDemand(self._placement, self._timing, listeners, self._loop.time)
        #: Where single symbols are and what ails them; to be asked by people, not for every tick.
        self.inspection = RemoteInspection(self._accounts, self._wanted.demand, wall_clock)
        self.have(accounts)
        self._hears_orders = False
        self._signs = 0
        #: Monotonic seconds at which the last sign left that is known to have come.
        self._signed_at = self._loop.time()
        self._sign_now = asyncio.Event()
        self._subscriptions = [
            bus.subscribe(subjects.answers(gateway), self._answered),
            bus.on_connection(self._connection_changed),
        ]
        self._tasks = [
            asyncio.create_task(self._give_signs(), name="brokerpool gateway's sign"),
            asyncio.create_task(self._look(), name="brokerpool look"),
        ]

    async def start(self, timeout: float = 30.0) -> None:
        """Return once the instrument list of each account is here, or a few seconds after the first one is.

        Those that are missing are used once they come. Raises BrokerpoolError (FEED_UNREACHABLE) after
        `timeout` seconds without any; it goes on to be of use then as well.
        """
        accounts = self._accounts
        for came, seconds in ((accounts.listed, timeout), (accounts.listed_all, _PATIENCE_SECONDS)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await came.wait()
            missing = ", ".join(accounts.unlisted())
            if not accounts.listed.is_set():
                text = f"no instrument list of {missing} came within {timeout:g} s."
                raise BrokerpoolError(text, code=ErrorCode.FEED_UNREACHABLE)
        if missing:
            logger.warning("no feed node has the list of %s yet: it is not served until one has", missing)

    def have(self, accounts: Sequence[str], gone: Collection[str] = ()) -> None:
        """Use these accounts from now on, in order of preference; each that was not known is joined.

        Those that are `gone` are asked for nothing that another one lists, and are not told as accounts.
        Raises ValueError for no account, and PoolClosedError.
        """
        self._check_open()
        if not accounts:
            raise ValueError("give one account at least")
        self._accounts.have(accounts, gone)

    # -- demand -------------------------------------------------------------------------------------------

    def want(self, owner: str, instruments: Sequence[Instrument], mode: Mode, priority: int = 0) -> Answer:
        """Want the instruments in the mode; see `Upstream.want`.

        What others want here in that mode already is granted at once. One that no feed node answers within
        `Timing.answer` ends with FEED_UNREACHABLE.
        """
        self._check_open()
        argument_checks.text("owner", owner)
        return self._wanted.want(owner, instruments, mode, priority)

    def release(self, owner: str, instruments: Sequence[Instrument], mode: Mode | None = None) -> object:
        """Give up the mode (all modes by default) of what the owner holds of these, at once."""
        return self._wanted.release(owner, instruments, tuple(Mode) if mode is None else (mode,))

    def hold_open(self, on: bool) -> None:
        """Keep a connection open for what it tells of orders; see `Upstream.hold_open`."""
        if on:
            self._check_open()
        if on != self._hears_orders:
            self._hears_orders = on
            self._sign_now.set()

    @property
    def demand(self) -> Demand:
        """Who holds what, without wants under way; to be read only."""
        return self._wanted.demand

    def delisted(self, instruments: Iterable[Instrument]) -> None:
        """Release what no account lists any more."""
        self._wanted.give_up(instruments)

    def gaps_told(self, gaps: Sequence[Gap]) -> None:
        """Note gaps that were opened."""
        for reason, count in Counter(gap.reason for gap in gaps).items():
            self.journal.note(Event.GAP, symbols=count, reason=reason)

    # -- what comes of it ---------------------------------------------------------------------------------

    def listen(self, listener: PoolListener) -> None:
        """Tell the listener of every tick and change from now on."""
        self._listeners.add(listener)

    def unlisten(self, listener: PoolListener) -> None:
        """Tell the listener no more; one that never listened is ignored."""
        self._listeners.remove(listener)

    def gap(self, instrument: Instrument) -> Gap | None:
        """Return the instrument's open gap, in which its last value is stale; None when there is none."""
        return self._accounts.delivery.gaps.get(instrument)

    def broker(self, instrument: Instrument) -> str:
        """Return the broker that feeds the instrument, or would, in lower case."""
        account = self._placement.feeding(instrument).account
        held = account.held(instrument)
        return (held.broker if held is not None else "") or account.broker

    def account(self, instrument: Instrument) -> str:
        """Return the account that serves the instrument now, "" when none does."""
        return self.inspection.account(instrument)

    # -- how it stands ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The broker of the first account as clients see it, in lower case."""
        return self._placement.preferred[0].broker

    @property
    def depth_levels(self) -> int:
        """The most levels of the order book that any account carries on each side."""
        return max(member.account.depth_levels for member in self._members)

    @property
    def book(self) -> TokenBook:
        """What the accounts list; another one once one of them uses a newer list."""
        return self._accounts.book

    def lists(self, account: str, instrument: Instrument) -> bool:
        """Tell whether an account lists the instrument, as far as its list is here."""
        return any(member.lists(instrument) for member in self._members if member.name == account)

    def hearing(self) -> dict[str, dict[str, Any]]:
        """Return by account how its shards are heard; see `monitor.metric_vocabulary`."""
        return {member.name: member.account.hearing() for member in self._members}

    @property
    def connected(self) -> bool:
        """True while a feed node is heard that has a live connection to its broker."""
        return any(member.connected for member in self._members)

    @property
    def symbols_down(self) -> int:
        """Symbols wanted here whose connection or feed node was lost, and that no other one carries."""
        return self.inspection.symbols_down

    @property
    def symbols_unserved(self) -> int:
        """Symbols wanted here that no live connection carries, as far as is known here."""
        return self.inspection.symbols_unserved

    def accounts(self) -> Sequence[AccountStatus]:
        """Tell how each account stands, in order of preference."""
        return self.inspection.accounts()

    def get_pool_stats(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of all accounts in one, under `websocket`."""
        return {"websocket": self.inspection.stats()}

    # -- orders of an operator, and the end ---------------------------------------------------------------

    def rotate(self, name: str) -> int:
        """Have a connection replaced and return how many symbols are to move; see `Upstream.rotate`.

        What its feed node cannot do then it says in its log.
        """
        return self._order("rotate", name)

    def drain(self, name: str) -> int:
        """Do the same with the connections that are open, so that there is one less."""
        return self._order("drain", name)

    def _order(self, order: str, name: str) -> int:
        for member in self._members:
            for connection in member.account.statistics().get("per_connection", ()):
                if connection["name"] == name:
                    self._bus.publish(
                        self._subjects.orders(member.name), encode(OperatorOrder(FORMAT, order, name))
                    )
                    return int(connection["symbols"])
        raise refusals.no_connection(connection["name"] for connection in self.inspection.connections())

    async def close(self) -> None:
        """Want nothing any more and listen no more; takes as long as two questions at most."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
        for task in self._tasks:
            task.cancel()
        for member in self._members:
            member.account.close()
        closed = PoolClosedError(f"the upstream of gateway {self.gateway} is closed.")
        self._wanted.close(closed)
        with contextlib.suppress(BusError, TimeoutError):
            async with asyncio.timeout(2 * self._timing.request):
                await self._bus.store(names.GATEWAYS).delete(names.gateway_key(self.gateway))
                for member in self._members:
                    await member.account.withdraw()

    # -- the regular look ---------------------------------------------------------------------------------

    async def _give_signs(self) -> None:
        store, key = self._bus.store(names.GATEWAYS), names.gateway_key(self.gateway)
        while True:
            self._sign_now.clear()
            self._signs += 1
            sign = GatewaySign(FORMAT, self.gateway, self._signs, self._hears_orders)
            sent_at = self._loop.time()
            with contextlib.suppress(BusError):
                await store.put(key, encode(sign))
                self._signed_at = sent_at
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.gateway_renewal):
                    await self._sign_now.wait()

    async def _look(self) -> None:
        looked_at = self._loop.time()
        for number in itertools.count():
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._loop.time()
            stalled, looked_at = now - looked_at - _LOOK_SECONDS, now
            if now - self._signed_at >= self._timing.gateway_life:
                for member in self._members:
                    member.account.doubt(
                        f"this gateway gave no sign of life for {self._timing.gateway_life:g} s"
                    )
            if stalled > self._timing.dark / 2:
                continue  # it was this process that stood still: first it hears what came meanwhile
            for member in self._members:
                member.account.look(now)
            self._wanted.look(now)
            if number % _MOVES_LOOKS == 0:
                for lost in self._accounts.look(now):
                    self._wanted.answered((), lost)
                    await asyncio.sleep(0)

    def _connection_changed(self, connected: bool) -> None:
        if connected:
            self._sign_now.set()  # who had no sign for long has forgotten what is wanted here
            for member in self._members:
                member.account.write_everything()

    # -- what accounts say --------------------------------------------------------------------------------

    def _answered(self, subject: str, payload: bytes) -> None:
        answer = _answer(payload)
        member = next((m for m in self._members if answer and m.name == answer.account), None)
        if answer is None or member is None or answer.epoch < member.account.epoch:
            return
        changed = member.account.answered(answer)
        self._wanted.answered(changed, self._placement.answered(member, changed))

    def _check_open(self) -> None:
        if self._closed:
            raise PoolClosedError(f"the upstream of gateway {self.gateway} is closed.")
