"""How the process itself is: the judgement on its health, the lag of its event loop, and the process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from brokerpool.brokers.login import Login
from brokerpool.feed.symbol_explanation import AccountStatus
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.monitor.account_conditions import AccountFacts
from brokerpool.monitor.cluster_conditions import cluster_facts
from brokerpool.monitor.condition_log import ConditionLog
from brokerpool.monitor.event_loop_lag import LagMonitor
from brokerpool.monitor.health_reasons import Code, Facts
from brokerpool.monitor.health_timing import Health, Status, Verdict
from brokerpool.monitor.process_resources import open_fds, rss_bytes

logger = logging.getLogger("brokerpool.gateway")

#: So often the health is judged though nobody asks, so that each reason has the time at which it began, and
#: the log tells it.
_LOOK_SECONDS = 1.0


class DatabaseState(NamedTuple):
    """How the database stands; where there is none, as below."""

    #: The error code for which it is not open, not read or not written; empty while it is.
    fault: str = ""
    #: Whether it was open since the start.
    opened: bool = True


class ProcessHealth:
    """Looks after one gateway or feed node from the moment at which it is made until `stop`."""

    def __init__(
        self,
        upstreams: Callable[[], Sequence[Upstream]],
        websocket: Callable[[], Mapping[str, Any]],
        instruments: InstrumentLists,
        breakers: Callable[[], Mapping[str, str]],
        database: Callable[[], DatabaseState],
        certificate_ends: Callable[[], float | None] = lambda: None,
        cluster: Callable[[], Mapping[str, Any] | None] = lambda: None,
        standby: Callable[[], Mapping[str, Login]] = dict,
    ) -> None:
        """`upstreams` gives what ticks come from: of a feed node one for each account that it holds now.

        `websocket` gives their numbers, and `breakers` the state of each of the HTTP pool's breakers, by host
        and group. `certificate_ends` gives the epoch seconds at which the certificate ends, `cluster` what
        `/stats` says of it; both give None where there is none. `standby` gives the logins of accounts that a
        feed node does not hold now, by account.
        """
        self._upstreams = upstreams
        self._websocket = websocket
        self._instruments = instruments
        self._breakers = breakers
        self._database = database
        self._certificate_ends = certificate_ends
        self._cluster = cluster
        self._standby = standby
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._lag = LagMonitor(self._loop)
        self._health = Health(self._loop.time, time.time)
        self._log = ConditionLog(self._loop.time)
        self._stopping = False
        self._verdict = Verdict(Status.OK, ready=True, reasons=())
        self._version = version("brokerpool")
        self._handle = self._loop.call_later(_LOOK_SECONDS, self._look)

    def verdict(self) -> Verdict:
        """Judge the health of this moment."""
        return self._judge(self._websocket(), self._breakers(), self._cluster())

    def latest(self) -> Verdict:
        """Return the last verdict, at most a second old: of the statistics that were asked for last."""
        return self._verdict

    def lag_since(self, at: float) -> float:
        """Return the longest lag of the event loop, in seconds, since this time of the loop."""
        return self._lag.longest_since(at)

    def stats(
        self,
        websocket: Mapping[str, Any],
        breakers: Mapping[str, str],
        cluster: Mapping[str, Any] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Return what `/stats` says of the lists, of health and of the process.

        The health is judged by those numbers of the pools and the cluster that are shown beside it.
        """
        verdict = self._judge(websocket, breakers, cluster)
        holding = {reason.code for reason in verdict.reasons}
        return {
            "broker": {**self._instruments.stats(), **self._login()},
            "health": {
                "status": verdict.status.value,
                "ready": verdict.ready,
                "reasons": {code.value: code in holding for code in Code},
            },
            "process": {
                "version": self._version,
                "uptime_seconds": round(self._loop.time() - self._began, 3),
                "rss_bytes": rss_bytes(),
                "open_fds": open_fds(),
                "loop_lag_max_seconds": round(self._lag.longest(), 6),
                "loop_lag_seconds": self._lag.histogram.stats(),
            },
        }

    def stop(self) -> None:
        """Say from now on that the gateway is stopping, and leave no timer behind."""
        self._stopping = True
        self._lag.stop()
        self._handle.cancel()

    def _login(self) -> dict[str, Any]:
        """Tell how the first login stands that was refused, else the first; nothing where there is none."""
        logins = [upstream.inspection.login() for upstream in self._upstreams()]
        if not logins:
            return {}
        login = next((login for login in logins if login.refused), logins[0])
        return {
            "login_refused": login.refused,
            "login_version": login.version,
            "login_failures": login.failures,
            "login_rest_seconds": round(login.rest_seconds, 1),
            "login_expires_at": login.expires_at,
        }

    def _judge(
        self,
        websocket: Mapping[str, Any],
        breakers: Mapping[str, str],
        cluster: Mapping[str, Any] | None,
    ) -> Verdict:
        upstreams, now = self._upstreams(), time.time()
        accounts = [account for upstream in upstreams for account in upstream.accounts()]
        database, ends = self._database(), self._certificate_ends()
        facts = Facts(
            # A feed node that holds nothing has its lists ready all the same.
            instruments=sum(len(upstream.book) for upstream in upstreams)
            if upstreams
            else self._instruments.stats()["instruments"],
            instruments_fault=self._instruments.fault,
            login_refused=bool(accounts) and all(account.login.refused for account in accounts),
            symbols=sum(len(upstream.demand) for upstream in upstreams),
            unserved=sum(upstream.symbols_unserved for upstream in upstreams),
            gaps_open=websocket["gaps_open"],
            connections_allowed=websocket["allowed_connections"],
            max_connections=websocket["max_connections"],
            breakers=tuple(key for key, state in breakers.items() if state == "open"),
            lag=self._lag.longest(),
            stopping=self._stopping,
            database=database.fault,
            database_opened=database.opened,
            certificate_left=None if ends is None else ends - now,
            accounts=tuple(_facts(account, now) for account in accounts),
            unlisted_taken=any(upstream.book.takes_unlisted for upstream in upstreams),
            cluster=cluster_facts(cluster),
            standby_logins=tuple(name for name, login in self._standby().items() if unusable(login, now)),
        )
        self._verdict = self._health.judge(facts)
        return self._verdict

    def _look(self) -> None:
        for line in self._log.look(self.verdict().reasons):
            logger.log(line.level, line.text)
        self._handle = self._loop.call_later(_LOOK_SECONDS, self._look)


def unusable(login: Login, now: float) -> bool:
    """Tell whether the broker has refused a login, or it is over at this epoch time."""
    ends = login.credentials.expires_at
    return login.refused or (ends is not None and ends <= now)


def _facts(account: AccountStatus, now: float) -> AccountFacts:
    ends = account.login.expires_at
    return AccountFacts(
        account.name,
        connected=account.connected,
        login_refused=account.login.refused,
        login_left=None if ends is None else ends - now,
        symbols=account.symbols,
        symbols_home=account.symbols_home,
        symbols_away=account.symbols_away,
        capacity=account.capacity,
    )
