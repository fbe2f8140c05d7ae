"""What one client of the simulated OpenAlgo has said and asked for on its socket; pure, clock injected.

It does what OpenAlgo's server does, where that is odd too: the mode of an unsubscribe that names several
symbols stands in each of them and nowhere else; what was never subscribed to is given up with success; a
symbol that nobody lists is accepted and never ticks; an error has no type and no request_id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from brokerpool.simulator.broker_interface import Outcome
from brokerpool.simulator.openalgo import wire
from brokerpool.simulator.openalgo.fault_switches import OpenAlgoFaults
from brokerpool.ticks import Mode

#: The broker's user, who is nobody.
USER_ID = "SIM001"

_MODES = {mode.label.upper(): mode for mode in Mode}
_DEFAULT_DEPTH = 5

_Request = dict[str, Any]


class Server(NamedTuple):
    """What all sessions of a server share."""

    faults: OpenAlgoFaults
    accepts: Callable[[str], bool]
    #: The broker behind it.
    broker: str
    #: Exchange and symbol -> token.
    tokens: Mapping[tuple[str, str], int]
    clock: Callable[[], float]


class _RefusedError(Exception):
    """A request is answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")


class OpenAlgoSession:
    """The modes of every instrument that one socket has; `handle` takes the messages of its client."""

    def __init__(self, server: Server, limit: float) -> None:
        """`limit` is how many instruments the socket may carry: one more is refused by its name."""
        self._server = server
        self._limit = limit
        self._held: dict[int, set[Mode]] = {}
        self._names: dict[int, tuple[str, str]] = {}
        #: The highest mode of every instrument.
        self.modes: dict[int, Mode] = {}
        self.largest_batch = 0
        self.logged_in = False
        #: True when order updates are sent to this client.
        self.hears_orders = False
        self._actions: dict[str, Callable[[_Request], Outcome]] = {
            "get_broker_info": self._broker_info,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "unsubscribe_all": self._unsubscribe_all,
            "subscribe_orders": lambda request: self._orders(request, True),
            "unsubscribe_orders": lambda request: self._orders(request, False),
        }

    @property
    def entries(self) -> int:
        """Instruments that count against the limit."""
        return len(self.modes)

    def handle(self, message: str | bytes) -> Outcome:
        """Carry out one request, or tell what is wrong with it; never raises, whatever the message is."""
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            return Outcome(error="INVALID_JSON: This message is not JSON.")
        if not isinstance(request, dict):
            kind = type(request).__name__
            return Outcome(error=f"SERVER_ERROR: {kind!r} object has no attribute 'get'")
        try:
            return self._handled(request)
        except _RefusedError as refused:
            return Outcome(error=str(refused))
        except (AttributeError, TypeError) as error:
            return Outcome(error=f"SERVER_ERROR: {error}")

    def report(self) -> dict[str, str]:
        """Return the modes of every instrument in OpenAlgo's words, ready for JSON."""
        return {
            str(token): "+".join(mode.label for mode in sorted(modes)) for token, modes in self._held.items()
        }

    # -- actions ------------------------------------------------------------------------------------------

    def _handled(self, request: _Request) -> Outcome:
        action = request.get("action") or request.get("type")
        match action:
            case "authenticate" | "auth":
                return self._authenticate(request)
            case "ping":
                return self._pong(request)
            case "get_supported_brokers":
                brokers = [self._server.broker]
                return _answered("supported_brokers", "success", brokers=brokers, count=len(brokers))
        carry_out = self._actions.get(action) if isinstance(action, str) else None
        if carry_out is None:
            raise _RefusedError("INVALID_ACTION", f"There is no action {action!r}.")
        if not self.logged_in:
            raise _RefusedError("NOT_AUTHENTICATED", "Authenticate first.")
        return carry_out(request)

    def _authenticate(self, request: _Request) -> Outcome:
        key = request.get("api_key") or request.get("apikey")
        if not key:
            raise _RefusedError("AUTHENTICATION_ERROR", "The request has no API key.")
        if not isinstance(key, str) or not self._server.accepts(key):
            raise _RefusedError("AUTHENTICATION_ERROR", "This API key is not known.")
        self.logged_in = True
        faults, broker = self._server.faults, self._server.broker
        if faults.broker_gone:
            answer = wire.error("BROKER_CONNECTION_ERROR", f"{broker} cannot be connected to.")
        else:
            answer = wire.text(
                {
                    "type": "auth",
                    "status": "success",
                    "message": "Authenticated.",
                    "broker": broker,
                    "user_id": USER_ID,
                    "supported_features": {"ltp": True, "quote": True, "depth": True},
                }
            )
        seconds = faults.login_delay_ms / 1000.0
        return Outcome(answers=(answer,), after=seconds, alone=faults.login_blocks and seconds > 0)

    def _pong(self, request: _Request) -> Outcome:
        echoes = {"client_timestamp": "timestamp", "_pingId": "_pingId"}
        echoed = {ours: request[theirs] for ours, theirs in echoes.items() if theirs in request}
        return _answered("pong", "success", server_timestamp=int(self._server.clock() * 1000), **echoed)

    def _broker_info(self, request: _Request) -> Outcome:
        status = "disconnected" if self._server.faults.broker_gone else "connected"
        broker = self._server.broker
        return _answered("broker_info", "success", broker=broker, adapter_status=status, user_id=USER_ID)

    def _orders(self, request: _Request, hears: bool) -> Outcome:
        self.hears_orders = hears
        kind = "subscribe_orders" if hears else "unsubscribe_orders"
        message = "Order updates will come." if hears else "No more order updates will come."
        return _answered(kind, "success", message=message, **_echo(request))

    def _subscribe(self, request: _Request) -> Outcome:
        mode = _mode(request.get("mode", Mode.QUOTE))
        wanted = self._wanted(request)
        self._check_broker()
        before, over_limit = dict(self.modes), False
        items: list[_Request] = []
        for symbol, exchange, _ in wanted:
            token = self._server.tokens.get((exchange, symbol))
            full = token is not None and token not in self._held and self.entries >= self._limit
            over_limit = over_limit or full
            reason = (self._server.faults.refuse_symbols or {}).get(f"{exchange}:{symbol}")
            if full:
                reason = f"The {self._limit} symbols that this connection may have are taken."
            if reason is None and token is not None:
                self._take(token, (exchange, symbol), mode)
            items.append(self._item(symbol, exchange, mode, request.get("depth", _DEFAULT_DEPTH), reason))
        good = all(item["status"] == "success" for item in items)
        outcome = _answered(
            "subscribe",
            "success" if good else "partial",
            subscriptions=items,
            message="Every symbol is subscribed to." if good else "Some symbols were refused.",
            broker=self._server.broker,
            **_echo(request),
        )
        return self._changed(before, outcome._replace(over_limit=over_limit))

    def _take(self, token: int, name: tuple[str, str], mode: Mode) -> None:
        self._held.setdefault(token, set()).add(mode)
        self._names[token] = name
        self.modes[token] = max(self._held[token])

    def _item(self, symbol: str, exchange: str, mode: Mode, depth: object, reason: str | None) -> _Request:
        item = {"symbol": symbol, "exchange": exchange}
        if reason is not None:
            return {**item, "status": "error", "message": reason, "broker": self._server.broker}
        told = {"status": "success", "mode": mode.label, "depth": depth, "broker": self._server.broker}
        return {**item, **told}

    def _unsubscribe(self, request: _Request) -> Outcome:
        if not request.get("symbols"):
            _mode(request.get("mode", Mode.QUOTE))
        wanted = self._wanted(request)
        self._check_broker()
        return self._given_up(request, "unsubscribe", wanted)

    def _unsubscribe_all(self, request: _Request) -> Outcome:
        self._check_broker()
        everything = [
            (symbol, exchange, mode)
            for token, (exchange, symbol) in self._names.items()
            for mode in sorted(self._held[token])
        ]
        return self._given_up(request, "unsubscribe_all", everything)

    # -- inside -------------------------------------------------------------------------------------------

    def _given_up(self, request: _Request, kind: str, wanted: Iterable[tuple[str, str, Any]]) -> Outcome:
        before = dict(self.modes)
        successful: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for symbol, exchange, said in wanted:
            item = {"symbol": symbol, "exchange": exchange}
            try:
                self._give_up(self._server.tokens.get((exchange, symbol)), _mode(said))
            except _RefusedError as refused:
                told = {"status": "error", "message": str(refused), "broker": self._server.broker}
                failed.append({**item, **told})
            else:
                successful.append({**item, "status": "success", "broker": self._server.broker})
        outcome = _answered(
            kind,
            "success" if not failed else "partial" if successful else "error",
            message=f"{len(successful)} given up, {len(failed)} not.",
            successful=successful,
            failed=failed,
            broker=self._server.broker,
            **_echo(request),
        )
        return self._changed(before, outcome)

    def _give_up(self, token: int | None, mode: Mode) -> None:
        held = self._held.get(token) if token is not None else None
        if token is None or held is None:
            return
        held.discard(mode)
        if held:
            self.modes[token] = max(held)
        else:
            del self._held[token], self._names[token], self.modes[token]

    def _changed(self, before: Mapping[int, Mode], outcome: Outcome) -> Outcome:
        return outcome._replace(
            added=[token for token in self.modes if token not in before],
            removed=[token for token in before if token not in self.modes],
            remoded=[token for token, mode in self.modes.items() if before.get(token, mode) != mode],
        )

    def _wanted(self, request: _Request) -> list[tuple[str, str, Any]]:
        """Return symbol, exchange and mode, which may be anything, of every symbol that a request names."""
        named: Iterable[_Request] = request.get("symbols") or ()
        if not named:
            if not request.get("symbol") or not request.get("exchange"):
                raise _RefusedError("INVALID_PARAMETERS", "A request names a symbol and its exchange.")
            named = [request]
        wanted = [
            (f"{entry['symbol']}", f"{entry['exchange']}", entry.get("mode", Mode.QUOTE))
            for entry in named
            if entry.get("symbol") and entry.get("exchange")
        ]
        self.largest_batch = max(self.largest_batch, len(wanted))
        return wanted

    def _check_broker(self) -> None:
        if self._server.faults.broker_gone:
            raise _RefusedError("BROKER_ERROR", f"{self._server.broker} is not connected.")


def _mode(said: object) -> Mode:
    if isinstance(said, int) and not isinstance(said, bool) and said in list(Mode):
        return Mode(said)
    if isinstance(said, str) and (mode := _MODES.get(said.strip().upper())) is not None:
        return mode
    raise _RefusedError("INVALID_MODE", f"{said!r} is no mode; use 1, 2, 3 or LTP, Quote, Depth.")


def _echo(request: _Request) -> _Request:
    return {"request_id": request["request_id"]} if "request_id" in request else {}


def _answered(kind: str, status: str, **members: object) -> Outcome:
    return Outcome(answers=(wire.text({"type": kind, "status": status, **members}),))
