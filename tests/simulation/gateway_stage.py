"""Sessions of a gateway over a late upstream in virtual time: programs whose sockets are lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from brokerpool import Instrument, Mode
from brokerpool.event_journal import Journal
from brokerpool.gateway.client_session import Session, SessionLimits
from brokerpool.gateway.clients import Clients
from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.deep_books import DeepBooks
from brokerpool.gateway.departed_clients import DeferredCleanup
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.gatekeeper import Gatekeeper, KeyLimits
from brokerpool.gateway.order_updates import OrderUpdates
from brokerpool.gateway.refusal_log import RefusalLog
from brokerpool.gateway.stranger_log import StrangerLog
from brokerpool.store.keys import Key, Scope
from tests.late_upstream import LateUpstream
from tests.simulation.stage import Stage, stage

OWN_KEY, SHARED_KEY = "the operator's key", "a key with a share"


class Program:
    """A client that has authenticated, and the link by which its session knows it."""

    def __init__(self, session: Session, key: str) -> None:
        self.session = session
        self.closed = False
        self.address = "127.0.0.1"
        self.reads = True  # whether the gateway reads what it sends
        self.replies: list[dict[str, Any]] = []
        self.frames = b""
        session.opened(self)  # type: ignore[arg-type]  # it has of a link what a session uses
        self.ask(action="authenticate", api_key=key)

    @property
    def name(self) -> str:
        return self.session.name

    @property
    def asked(self) -> list[str]:
        """The types of the replies so far, that to the key left out."""
        return [reply["type"] for reply in self.replies[1:]]

    def ask(self, **request: Any) -> None:
        self.session.text(json.dumps(request))

    def subscribe(self, *instruments: Instrument, mode: Mode = Mode.LTP) -> None:
        self.ask(action="subscribe", symbols=[_named(i) for i in instruments], mode=int(mode))

    def unsubscribe(self, *instruments: Instrument) -> None:
        self.ask(action="unsubscribe", symbols=[_named(i) for i in instruments])

    def leave(self) -> None:
        self.closed = True
        self.session.closed(1006, "")

    # -- the link -----------------------------------------------------------------------------------------

    def send_text(self, message: bytes) -> None:
        self.replies.append(json.loads(message))

    def send_frames(self, frames: bytes) -> None:
        self.frames += frames

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"closed by the gateway: {code} {reason}")

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def limit_buffer(self, size: int) -> None:
        pass

    def limit_socket_buffer(self, size: int) -> None:
        pass


def _named(instrument: Instrument) -> dict[str, str]:
    return {"symbol": instrument.symbol, "exchange": instrument.exchange}


class GatewayStage:
    """Who plays: the pool, the upstream that it is behind, and the gateway's fan-out."""

    def __init__(self, scene: Stage, shared_symbols: int) -> None:
        self.scene = scene
        self.upstream = LateUpstream(scene.pool)
        self.upstream.answers = False
        self.instruments = scene.feed.instruments
        self.fanout = Fanout(self.upstream.name, clock=scene.loop.time, processor_clock=scene.loop.time)
        self.upstream.listen(self.fanout)
        self.refusals = RefusalLog()
        self._journal = Journal(wall_clock=scene.loop.wall_clock)
        self._gatekeeper = Gatekeeper(
            OWN_KEY,
            {SHARED_KEY: Key(1, "shared", "", frozenset({Scope.DATA}), 0)}.get,
            KeyLimits(clients=10, symbols=shared_symbols, requests=1_000_000, seconds=1.0),
            self._journal,
            scene.loop.time,
        )
        self._cleanup = DeferredCleanup()
        self._slots: ConnectionSlots[Session] = ConnectionSlots(100, 0)
        self._strangers = StrangerLog(scene.loop.time)
        self._clients = Clients(self._journal)
        self._order_updates = OrderUpdates(self.upstream, scene.loop.wall_clock)

    def program(self, key: str = OWN_KEY, make_room: Callable[[], bool] = lambda: False) -> Program:
        session = Session(
            self.upstream,
            self.fanout,
            DeepBooks(self.upstream, None, self.fanout),
            self.refusals,
            self._gatekeeper,
            SessionLimits(auth_seconds=15, buffer_bytes=1, stuck_seconds=10, max_symbols=1000),
            self._cleanup,
            self._slots,
            self._strangers,
            self._clients,
            self._order_updates,
            make_room=make_room,
        )
        return Program(session, key)

    def answer(self, which: int = 0) -> None:
        """Give the answer to one of the wants that are under way."""
        self.upstream.held_back.pop(which)()

    def held(self, program: Program) -> set[tuple[Instrument, Mode]]:
        """Return what a program holds at the upstream."""
        demand, owner = self.upstream.demand, program.name
        return {(i, mode) for i in demand.instruments(owner) for mode in demand.held(owner, i)}

    def watches(self, program: Program) -> set[tuple[Instrument, int]]:
        """Return what a program gets ticks of."""
        return set(program.session._subscriber.keys)


@asynccontextmanager
async def gateway_stage(*, shared_symbols: int = 1000, **options: Any) -> AsyncIterator[GatewayStage]:
    """Give a stage on which the upstream answers when it is told to."""
    async with stage(**options) as scene:
        found = GatewayStage(scene, shared_symbols)
        try:
            yield found
        finally:
            found._cleanup.close()
            found.fanout.close()
            await found.upstream.close()


async def turns() -> None:
    """Let everything happen that takes no time."""
    for _ in range(20):
        await asyncio.sleep(0)
