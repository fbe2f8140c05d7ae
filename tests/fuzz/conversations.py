"""What is sent to whom: each frame, and the pieces that it leaves in, follow from the seed and its number."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import NamedTuple

from tests.fuzz import mutators
from tests.fuzz.recorded import Recording

#: Frames that are sent on one connection, or on the next one when the gateway has closed it.
FRAMES_A_CONNECTION = 25
_MOST_PIECES = 4


class Target(Enum):
    """Where a conversation goes."""

    #: Requests to open a WebSocket.
    UPGRADE = "upgrade"
    #: A WebSocket of somebody who has shown no key, and of somebody who has.
    STRANGER = "stranger"
    CLIENT = "client"
    HTTP = "http"
    #: What the broker sends to the pool.
    BROKER = "broker"


_WEIGHTS = {Target.UPGRADE: 1, Target.STRANGER: 3, Target.CLIENT: 6, Target.HTTP: 5, Target.BROKER: 5}


class Mutant(NamedTuple):
    """A frame that is sent, and how it came about."""

    number: int
    pieces: list[bytes]
    how: str


@dataclass
class Conversation:
    """Frames for one connection."""

    target: Target
    #: False when the one who sends reads nothing of what comes back.
    reads: bool
    #: True when it ends by saying so.
    politely: bool
    mutants: list[Mutant] = field(default_factory=list)


def conversations(recording: Recording, seed: int, first: int, frames: int) -> Iterator[Conversation]:
    """Yield the conversations of so many frames from the `first` on, which are the same for the same seed."""
    number, end = first, first + frames
    while number < end:
        group = number // FRAMES_A_CONNECTION
        random = Random(f"{seed}/connection/{group}")
        target = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        conversation = Conversation(target, random.random() > 0.1, random.random() > 0.5)
        last = min(end, (group + 1) * FRAMES_A_CONNECTION)
        sources = _sources(recording, target)
        # In the order of the recording, from anywhere on, or in none.
        start, shuffled = random.randrange(len(sources)), random.random() < 0.3
        for at in range(number, last):
            drawn = Random(f"{seed}/frame/{at}")
            place = drawn.randrange(len(sources)) if shuffled else (start + at) % len(sources)
            how, frame = mutators.mutated(
                sources[place], sources, drawn, http=target in (Target.UPGRADE, Target.HTTP)
            )
            conversation.mutants.append(Mutant(at, _pieces(frame, drawn), how))
        yield conversation
        number = last


def _sources(recording: Recording, target: Target) -> Sequence[bytes]:
    match target:
        case Target.UPGRADE:
            return (recording.upgrade,)
        case Target.HTTP:
            return recording.requests
        case Target.BROKER:
            return recording.broker
    return recording.client


def _pieces(frame: bytes, random: Random) -> list[bytes]:
    edges = sorted(random.randrange(len(frame) + 1) for _ in range(random.randrange(_MOST_PIECES)))
    edges = [0, *edges, len(frame)]
    return [piece for a, b in itertools.pairwise(edges) if (piece := frame[a:b])]
