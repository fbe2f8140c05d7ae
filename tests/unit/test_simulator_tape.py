"""Tapes: written and read back exactly, damaged lines left out, played in the mode that each socket wants."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path

import pytest

from brokerpool.simulator import KiteSimulator
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.recording import Header, Recorded, TapeReader, TapeWriter
from brokerpool.simulator.zerodha.wire import frame, packet_token, packets, record
from brokerpool.ticks import Mode
from tests.unit.simulator_client import answer, ask, dialling, run, shape, until

INFY, NIFTY, RELIANCE, STRANGER = 408065, 256265, 738561, 77_777_665


def full(token: int, ltp: int) -> bytes:
    return record(Quote(token, ltp, levels=tuple(range(30))), Mode.DEPTH)


def recorded_tape(path: Path) -> Path:
    header = Header(instruments=[(STRANGER, "NSE", "STRANGER"), (INFY, "NSE", "INFY")])
    with TapeWriter(path, header) as tape:
        tape.write(0, b"\x00")
        tape.write(0, frame([full(INFY, 100), full(NIFTY, 200), full(RELIANCE, 300)]))
        tape.write(100, frame([full(INFY, 101)]))
        tape.write(150, frame([full(STRANGER, 400), full(INFY, 102)]))
    return path


def test_a_tape_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    tape = TapeReader(recorded_tape(tmp_path / "a.tape"))
    assert tape.header.instruments[0] == (STRANGER, "NSE", "STRANGER")
    for _ in range(2):
        messages = tape.take(3) + tape.take(3)
        assert [message.ms for message in messages] == [0, 0, 100, 150]
        assert messages[2].frame == frame([full(INFY, 101)])
        assert tape.take(3) == []
    assert tape.bad_lines == 0


def test_a_tape_is_plain_lines_of_json(tmp_path: Path) -> None:
    header, _, second, *_ = recorded_tape(tmp_path / "a.tape").read_text().splitlines()
    assert json.loads(header)["tape"] == 1
    line = json.loads(second)
    assert len(base64.b64decode(line["frame"])) == 2 + 186 + 34 + 186


def test_damaged_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    good = '{"ms":1,"frame":"AAA="}\n'
    path.write_text(f'{{"tape":1}}\n{good}\n{{"ms":-1,"frame":""}}\nnoise\n{{"ms":1}}\n{good}')
    tape = TapeReader(path)
    assert tape.take(10) == [Recorded(1, b"\0\0")] * 2
    assert tape.bad_lines == 3
    tape.close()


@pytest.mark.parametrize("text", ["", "noise", '{"tape":2}', '{"tape":1,"instruments":[[-1,"NSE","X"]]}'])
def test_a_file_without_a_header_is_not_a_tape(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.tape"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a tape"):
        KiteSimulator(replay=path)


def test_a_tape_plays_at_its_times_in_the_mode_subscribed(tmp_path: Path) -> None:
    async def scenario() -> None:
        broker = KiteSimulator(replay=recorded_tape(tmp_path / "a.tape"), repeat=True, snapshot=False)
        async with (
            broker,
            dialling(broker) as client,
        ):
            await ask(client, "subscribe", [INFY, NIFTY, STRANGER])
            await ask(client, "mode", ["ltp", [INFY]])
            await ask(client, "mode", ["full", [STRANGER]])
            expected = {
                (INFY, 8, 100): 0.0,
                (NIFTY, 28, 200): 0.0,
                (INFY, 8, 101): 0.1,
                (STRANGER, 184, 400): 0.15,
                (INFY, 8, 102): 0.15,
            }
            # Begin with the first frame of a round; the first round may have been under way.
            seen: list[tuple[int, int, int]] = []
            began = 0.0
            while seen != list(expected):
                message = await answer(client)
                assert isinstance(message, bytes)
                for packet in packets(message):
                    packed = (packet_token(packet) or 0, len(packet), int.from_bytes(packet[4:8], "big"))
                    if packed == (INFY, 8, 100):
                        seen, began = [], time.monotonic()
                    seen.append(packed)
                    if began:
                        assert time.monotonic() - began >= expected[packed] - 0.05

    run(scenario)


def test_a_tape_that_is_not_repeated_ends_and_leaves_its_last_packets(tmp_path: Path) -> None:
    async def scenario() -> None:
        broker = KiteSimulator(symbols=10, replay=recorded_tape(tmp_path / "a.tape"), repeat=False)
        assert [row.key for row in broker.listings if row.token == STRANGER] == ["NSE:STRANGER"]
        assert len(broker.listings) == 11
        async with broker:
            await until(lambda: broker.stats()["replayed_packets"] == 6)
            async with dialling(broker) as client:
                await ask(client, "subscribe", [INFY, STRANGER, 1])
                assert [token for token, _ in await shape(client)] == [INFY, STRANGER]
            with pytest.raises(ValueError, match="a tape is playing"):
                await broker.step(1)

    run(scenario)


def test_an_empty_tape_ends_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        with TapeWriter(tmp_path / "a.tape", Header()):
            pass
        async with KiteSimulator(replay=tmp_path / "a.tape") as broker:
            await asyncio.wait_for(asyncio.gather(*broker._tasks[1:]), 5.0)

    run(scenario)
