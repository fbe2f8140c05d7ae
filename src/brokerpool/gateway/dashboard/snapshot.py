"""What the page shows of one moment; every list in it is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from brokerpool.event_journal import Entry
from brokerpool.feed.gaps import Gap
from brokerpool.feed.symbol_explanation import Explanation, Guest, LoginStatus
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.refusal_log import RefusalLog
from brokerpool.gateway.rest.clients import ClientTold
from brokerpool.gateway.rest.health_endpoints import told
from brokerpool.monitor.health_timing import Status, Verdict
from brokerpool.store.key_rows import LONGEST_NAME
from brokerpool.store.keys import Key
from brokerpool.untrusted_text import remembered

#: Keys, gaps, degraded and refused symbols that are named; the rest is counted.
KEYS = 50
SYMBOLS = 50
#: Symbols that are named in the picture of a connection.
_PICTURED = 6
_LONGEST_USER = 64


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers come from."""

    upstream: Upstream
    fanout: Fanout
    refusals: RefusalLog
    #: The members of `/stats`.
    stats: Callable[[], dict[str, Any]]
    #: The longest delay of the event loop, in seconds, since a time of the loop.
    lag_since: Callable[[float], float]
    #: Epoch seconds.
    wall_clock: Callable[[], float]
    #: The clients that keep up worst, and the name of the key of the client with a number.
    slowest: Callable[[], list[ClientTold]] = list
    key_of: Callable[[int], str] = lambda _: ""
    #: What `/health` says, of the moment of `stats`.
    verdict: Callable[[], Verdict] = lambda: Verdict(Status.OK, ready=True, reasons=())
    #: The keys in the database, how many there are, and how many clients are connected with one.
    stored_keys: Callable[[], Iterable[Key]] = list
    keys_stored: Callable[[], int] = lambda: 0
    clients_with: Callable[[int], int] = lambda _: 0
    #: The account that carries orders, empty where none does.
    orders_account: str = ""


def snapshot(sources: Sources, *, since: float, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return one moment: `/stats`, and what single symbols and clients are about.

    `since` is the event loop's time of the last snapshot; `entries` are what the journal got since then.
    """
    inspection, fanout = sources.upstream.inspection, sources.fanout
    stats = sources.stats()
    names = [connection["name"] for connection in stats["websocket"]["per_connection"]]
    return {
        "kind": "snapshot",
        "at_ms": int(sources.wall_clock() * 1000),
        "broker": sources.upstream.name,
        "stats": stats,
        "lag_ms": round(sources.lag_since(since) * 1000, 2),
        "pictured": {name: [str(i) for i in inspection.some(name, _PICTURED)] for name in names},
        "emptying": inspection.evacuating(),
        "reasons": told(sources.verdict()),
        "logins": {account.name: _login(account.login) for account in sources.upstream.accounts()},
        "orders_account": sources.orders_account,
        "guests": [_guest(guest) for guest in inspection.guests(SYMBOLS)],
        "keys": [_key(key, sources.clients_with(key.id)) for key in islice(sources.stored_keys(), KEYS)],
        "keys_stored": sources.keys_stored(),
        "clients": sources.slowest(),
        "clients_dropped": fanout.dropped,
        "degraded": [str(instrument) for instrument in inspection.degraded(SYMBOLS)],
        "gaps": [_gap(gap) for gap in inspection.gaps(SYMBOLS)],
        "refused": [
            {**refusal._asdict(), "key": sources.key_of(refusal.client)}
            for refusal in sources.refusals.newest(SYMBOLS)
        ],
        "refused_total": sources.refusals.counts.total(),
        "journal": journal(entries),
    }


def journal(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return entries of the journal as the page takes them."""
    return [{**entry._asdict(), "event": entry.event.value} for entry in entries]


def explained(found: Explanation) -> dict[str, Any]:
    """Return what is known of one symbol that somebody wants."""
    carriers = sorted(found.carriers, key=lambda carrier: carrier.role != "home")
    return {
        "symbol": str(found.instrument),
        "state": found.state.value if found.state else None,
        "why": found.why,
        "mode": found.mode.label if found.mode else None,
        "owners": len(found.owners),
        "priority": found.priority,
        "account": found.account,
        "route": found.route,
        "connections": [carrier.name for carrier in carriers],
        "ltp": found.last.ltp if found.last else None,
        "exchange_ms": found.last.timestamp if found.last else None,
        "age_seconds": found.last_tick_age,
        "usual_pause_seconds": found.usual_pause,
        "gap": _gap(found.gap) if found.gap else None,
    }


def _login(login: LoginStatus) -> dict[str, Any]:
    """Whose login it is and until when it is valid; never what is secret in it."""
    return {
        "user": remembered(login.user, _LONGEST_USER),
        "refused": login.refused,
        "version": login.version,
        "expires_at": login.expires_at,
    }


def _key(key: Key, clients: int) -> dict[str, Any]:
    return {
        "name": remembered(key.name, LONGEST_NAME),
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_ms": key.created_ms,
        "last_used_ms": key.last_used_ms,
        "clients": clients,
    }


def _guest(guest: Guest) -> dict[str, Any]:
    return {"symbol": str(guest.instrument), "home": guest.home, "account": guest.account}


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "symbol": str(gap.instrument),
        "from_ms": gap.from_ms,
        "reason": gap.reason,
        "filled": gap.filled,
    }
