"""The fuzzer finds what is broken on purpose and nothing else, and repeats itself by its seed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from brokerpool.brokers.zerodha import KiteWire
from brokerpool.gateway.client_session import Session
from brokerpool.ticks import Tick
from tests.fuzz import mutation
from tests.fuzz.conversations import FRAMES_A_CONNECTION, Conversation, Target, conversations
from tests.fuzz.mutation import Report, fuzz
from tests.fuzz.recorded import Recording, record


@pytest.fixture(scope="module")
def recording() -> Recording:
    return asyncio.run(record())


def fuzzed(recording: Recording, frames: int, seed: int, first: int = 0) -> Report:
    report = Report(seed, recording.digest)
    asyncio.run(fuzz(recording, report, frames=frames, first=first))
    return report


def test_the_recording_has_frames_of_each_direction_and_those_toward_the_gateway_are_always_the_same(
    recording: Recording,
) -> None:
    assert min(len(recording.client), len(recording.requests), len(recording.broker)) > 10
    assert min(len(recording.replies), len(recording.answers), len(recording.orders)) > 5
    assert {answer.split()[1] for answer in recording.answers} >= {b"200"}
    again = asyncio.run(record())
    assert (again.client, again.requests, again.broker) == (
        recording.client,
        recording.requests,
        recording.broker,
    )
    assert again.digest == recording.digest


def test_five_hundred_mutated_frames_are_noticed_by_nobody(recording: Recording) -> None:
    report = fuzzed(recording, 500, seed=3)
    assert report.broken == ""
    assert report.frames == 500
    assert report.connections > 50
    assert report.answers >= 500 // FRAMES_A_CONNECTION
    assert (report.error_lines, report.tasks_died) == (0, 0)
    assert 0 < report.longest_turn < 0.02


def test_the_same_seed_gives_the_same_frames_whichever_is_the_first(recording: Recording) -> None:
    whole = _sent(conversations(recording, 5, 0, 400))
    assert whole == _sent(conversations(recording, 5, 0, 400))
    assert whole[230:330] == _sent(conversations(recording, 5, 230, 100))
    assert whole != _sent(conversations(recording, 6, 0, 400))
    assert len({conversation.target for conversation in conversations(recording, 5, 0, 1000)}) == len(Target)


def _sent(found: Iterable[Conversation]) -> list[tuple[Target, int, bytes]]:
    return [(c.target, m.number, b"|".join(m.pieces)) for c in found for m in c.mutants]


def _raises(session: Session, message: str) -> None:
    json.loads(message)
    _text(session, message)


def _blocks(session: Session, message: str) -> None:
    if not message.startswith("{"):
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
    _text(session, message)


_text = Session.text


@pytest.mark.parametrize(("spoilt", "told"), [(_raises, "JSONDecodeError"), (_blocks, "a turn took")])
def test_a_handler_that_raises_or_takes_long_is_noticed_and_the_same_frames_show_it_again(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, spoilt: Callable[[Session, str], None], told: str
) -> None:
    monkeypatch.setattr(Session, "text", spoilt)
    report = fuzzed(recording, 500, seed=3)
    assert told in report.broken
    first = report.at - report.at % FRAMES_A_CONNECTION
    again = fuzzed(recording, FRAMES_A_CONNECTION, seed=3, first=first)
    assert (told in again.broken, again.at) == (True, report.at)


def test_memory_that_is_not_given_back_is_noticed(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bytes] = []
    decode = KiteWire.binary

    def keeps(wire: KiteWire, payload: bytes, routes: Any, received_ms: int) -> list[Tick]:
        kept.append(bytes(payload) * 2**10)
        return decode(wire, payload, routes, received_ms)

    monkeypatch.setattr(KiteWire, "binary", keeps)
    monkeypatch.setattr(mutation, "MOST_GROWTH", 20 * 2**20)
    assert "memory grew by" in fuzzed(recording, 500, seed=3).broken


def test_the_command_tells_what_it_found_and_how_to_send_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Session, "text", _raises)
    assert mutation.main(["--frames", "500", "--seed", "3"]) == 1
    told = capsys.readouterr().out
    assert "BROKEN at frame" in told
    assert 'make fuzz ARGS="--seed 3 --first' in told
