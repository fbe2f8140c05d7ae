"""Whatever bytes come, in whatever pieces, at both listeners and from the broker: nobody else notices.

Nobody, that is the client that is connected, the next one on either listener, and the broker's other socket.
No task dies, nothing is logged as an error, no turn of the event loop takes long, and what one connection
makes the gateway hold has a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokerpool.gateway.client_actions import MOST_ENTRIES
from brokerpool.gateway.rest.bodies import MAX_BODY_BYTES
from brokerpool.transport import DialError, Link, LinkHandler, dial
from brokerpool.transport.client import MAX_MESSAGE_BYTES as FROM_BROKER
from tests.fuzz import strategies
from tests.fuzz.attacked import CLIENT_BUFFER_BYTES, MAX_MESSAGE_BYTES
from tests.fuzz.conversations import Target
from tests.fuzz.dearest import DEAREST, HEAVIEST
from tests.fuzz.raw_broker import accept
from tests.fuzz.trial import MOST_SECONDS_A_TURN, Attack, Trial, send, settle, trial
from tests.fuzz.watched_loop import turns
from tests.rehearsal import no_task_dies

DRAWN = {
    Target.UPGRADE: strategies.in_pieces(strategies.openings),
    Target.STRANGER: strategies.in_pieces(strategies.client_frames),
    Target.CLIENT: strategies.in_pieces(strategies.client_frames),
    Target.HTTP: strategies.in_pieces(strategies.http_requests),
    Target.BROKER: strategies.in_pieces(strategies.broker_frames),
}
attacks = st.one_of([st.tuples(st.just(target), pieces) for target, pieces in DRAWN.items()])
#: Bytes that one connection may make the gateway hold, whatever it sends. A WebSocket: its buffers, each for
#: a message, and with a key the parts of the longest request that is understood. HTTP: the parts of the
#: longest body. A broker's: a message of full length in a buffer that grew by doubling, and its copy.
MOST_HELD = {
    Target.UPGRADE: 5 * MAX_MESSAGE_BYTES + CLIENT_BUFFER_BYTES,
    Target.STRANGER: 5 * MAX_MESSAGE_BYTES + CLIENT_BUFFER_BYTES,
    Target.CLIENT: 5 * MAX_MESSAGE_BYTES + CLIENT_BUFFER_BYTES + 64 * 6 * MOST_ENTRIES,
    Target.HTTP: 40 * MAX_BODY_BYTES,
    Target.BROKER: 4 * FROM_BROKER,
}
_TOGETHER = 3


class Ended(LinkHandler):
    """Knows whether the link was opened, and when it has ended."""

    def __init__(self) -> None:
        self.opens = 0
        self.ended = asyncio.Event()

    def opened(self, link: Link) -> None:
        self.opens += 1

    def closed(self, code: int, reason: str) -> None:
        self.ended.set()


class Stage:
    """One gateway for many examples."""

    def __init__(self, runner: asyncio.Runner, attacked: Trial) -> None:
        self.runner = runner
        self.trial = attacked
        self._examples = itertools.count(1)

    def nobody_notices(self, target: Target, pieces: list[bytes], *, reads: bool = True) -> None:
        """Send the pieces, and look at everybody else."""
        self.runner.run(self._nobody_notices(lambda: self._attack(target, pieces, reads)))

    async def _nobody_notices(self, attack: Attack) -> None:
        trial = self.trial
        try:
            longest = await trial.longest_turn(attack)
            await trial.look()
            await trial.look_at_newcomers()
            await trial.watched.look()
            if next(self._examples) % 20 == 0:
                gc.collect()  # what died unseen is told now
        finally:
            found = trial.faults()
        assert found == []
        assert longest < MOST_SECONDS_A_TURN, f"a turn took {longest * 1000:.1f} ms of CPU"

    def held(self, target: Target, pieces: list[bytes]) -> float:
        """Return the most bytes that this process held for each of some such connections at once."""
        together = 1 if target is Target.BROKER else _TOGETHER
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            self.runner.run(self.trial.watched.run(self._attack_together(target, pieces, together)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.runner.run(self.trial.look())
        return (peak - before) / together

    async def _attack(self, target: Target, pieces: list[bytes], reads: bool) -> None:
        line = await self.trial.connect(target, reads=reads)
        try:
            await send(line, pieces)
            await settle()
            if target is not Target.BROKER:
                line.end(politely=len(pieces) % 2 == 0)
                await turns(2)
        finally:
            line.end()
            await turns(2)

    async def _attack_together(self, target: Target, pieces: list[bytes], together: int) -> None:
        await asyncio.gather(*(self._attack(target, pieces, reads=True) for _ in range(together)))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with asyncio.Runner() as runner:
        opened = trial()
        attacked = runner.run(_entered(opened))
        try:
            yield Stage(runner, attacked)
        finally:
            runner.run(_left(opened))
        assert attacked.faults() == []


async def _entered(context: contextlib.AbstractAsyncContextManager[Trial]) -> Trial:
    return await context.__aenter__()


async def _left(context: contextlib.AbstractAsyncContextManager[Trial]) -> None:
    await context.__aexit__(None, None, None)


drawn = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@drawn
@given(pieces=DRAWN[Target.UPGRADE], reads=st.booleans())
def test_before_the_websocket_s_handshake_any_bytes_are_noticed_by_nobody_else(
    stage: Stage, pieces: list[bytes], reads: bool
) -> None:
    stage.nobody_notices(Target.UPGRADE, pieces, reads=reads)


@drawn
@given(
    target=st.sampled_from([Target.STRANGER, Target.CLIENT]), pieces=DRAWN[Target.CLIENT], reads=st.booleans()
)
def test_behind_the_handshake_with_a_key_or_without_any_bytes_are_noticed_by_nobody_else(
    stage: Stage, target: Target, pieces: list[bytes], reads: bool
) -> None:
    stage.nobody_notices(target, pieces, reads=reads)


@drawn
@given(pieces=DRAWN[Target.HTTP], reads=st.booleans())
def test_at_the_http_listener_any_bytes_are_noticed_by_nobody_else(
    stage: Stage, pieces: list[bytes], reads: bool
) -> None:
    stage.nobody_notices(Target.HTTP, pieces, reads=reads)


@drawn
@given(pieces=DRAWN[Target.BROKER])
def test_any_bytes_of_the_broker_are_noticed_by_no_client_and_on_no_other_socket(
    stage: Stage, pieces: list[bytes]
) -> None:
    stage.nobody_notices(Target.BROKER, pieces)


@pytest.mark.parametrize("name", DEAREST)
def test_the_dearest_bytes_that_are_known_take_no_long_turn_and_are_noticed_by_nobody_else(
    stage: Stage, name: str
) -> None:
    target, raw = DEAREST[name]
    stage.nobody_notices(target, [raw])


@settings(drawn, max_examples=40)
@given(attacks)
def test_what_one_connection_makes_the_gateway_hold_has_a_limit(
    stage: Stage, attack: tuple[Target, list[bytes]]
) -> None:
    target, pieces = attack
    assert stage.held(target, pieces) < MOST_HELD[target]


@pytest.mark.parametrize("name", HEAVIEST)
def test_the_heaviest_bytes_that_are_known_are_held_within_the_same_limit(stage: Stage, name: str) -> None:
    target, raw = DEAREST[name]
    assert stage.held(target, [raw]) < MOST_HELD[target]


@drawn
@given(answer=strategies.in_pieces(strategies.answers))
def test_whatever_answers_a_dial_it_fails_with_a_reason_or_gives_a_link_that_ends(
    answer: list[bytes],
) -> None:
    async def main() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                head = await reader.readuntil(b"\r\n\r\n")
                for piece in answer:
                    writer.write(piece.replace(strategies.ACCEPT, accept(head)))
                    await writer.drain()
            writer.close()

        handler = Ended()
        async with no_task_dies(), await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            reason = ""
            try:
                await dial(f"ws://127.0.0.1:{port}/", handler, timeout=20)
            except DialError as error:
                reason = str(error)
            if reason:
                assert reason.startswith("127.0.0.1 ")
                assert not handler.opens
            else:
                await asyncio.wait_for(handler.ended.wait(), 20)
                assert handler.opens == 1

    asyncio.run(main())
