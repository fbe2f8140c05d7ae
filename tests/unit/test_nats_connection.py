"""What the connection to NATS writes, and when: in order, and once a turn, over real servers."""

from __future__ import annotations

import asyncio
import itertools
import signal
from pathlib import Path
from typing import Any

import pytest

from brokerpool.cluster.nats_server import program
from tests.nats import run
from tests.rehearsal import until
from tests.unit.test_nats_bus import pair, settled

pytestmark = pytest.mark.skipif(program() is None, reason="needs the program nats-server")


def test_small_messages_do_not_overtake_large_ones_that_the_line_takes_piece_by_piece(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (server, one, two):
            seen: list[int] = []
            two.subscribe("a", lambda subject, payload: seen.append(int(payload[-8:])))
            await settled(two)
            numbers = itertools.count()

            async def tell(size: int) -> None:
                one.publish("a", str(next(numbers)).encode().rjust(size, b"0"))
                await asyncio.sleep(0)

            process = server.process
            assert process is not None
            process.send_signal(signal.SIGSTOP)
            try:
                for _ in range(60):
                    for size in (1024 * 1024, 1, 1):
                        await tell(size)
                    if one._client.pending_data_size:
                        break
                assert one._client.pending_data_size, "the line takes no more"
                for _ in range(5):
                    await tell(1)
            finally:
                process.send_signal(signal.SIGCONT)
            for size in (1, 1024 * 1024, 1):
                await tell(size)
            count = next(numbers)
            assert one.counts.lost == 0
            await until(lambda: len(seen) >= count)
            assert seen == [*range(count)]

    run(test())


def test_what_is_told_in_one_turn_leaves_in_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            seen: list[bytes] = []
            two.subscribe("a.*", lambda subject, payload: seen.append(payload))
            await settled(two)
            await settled(one)
            line: Any = one._client._transport._io_writer.transport  # type: ignore[union-attr]
            written: list[bytes] = []
            write = line.write

            def noting(_: object, data: bytes) -> None:
                written.append(bytes(data))
                write(data)

            monkeypatch.setattr(type(line), "write", noting)
            for shard in range(4):
                one.publish(f"a.{shard}", bytes([shard]))
            assert not written
            await until(lambda: len(seen) == 4)
            told = [data for data in written if data.startswith(b"PUB a.")]
            assert [data.count(b"PUB a.") for data in told] == [4]

    run(test())
