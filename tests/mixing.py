"""The order of tests for several workers: each has something to compute while another one waits.

Scenes wait most of their time, for seconds that a promise is about; all other tests compute. In the order of
their names one worker would have all scenes, and the others be done long before it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol, TypeVar


class Located(Protocol):
    """A test, of which only the file is asked."""

    @property
    def path(self) -> Path: ...


T = TypeVar("T", bound=Located)

_SCENES = {"browser", "faults"}


def mixed(items: Sequence[T], workers: int) -> list[T]:
    """Return them in as many even shares, as workers get them: scenes between the files of the others.

    The scenes of a share are begun in its first four fifths, so that none is left for the end.
    """
    scenes = [item for item in items if item.path.parent.name in _SCENES]
    others = [item for item in items if item.path.parent.name not in _SCENES]
    order: list[T] = []
    for worker in range(workers):
        waiting = deque(scenes[worker::workers])
        share = others[len(others) * worker // workers : len(others) * (worker + 1) // workers]
        files = [[*file] for _, file in groupby(share, key=lambda item: item.path)]
        at_once = math.ceil(1.25 * len(waiting) / max(1, len(files)))
        for file in files:
            order += file
            order += [waiting.popleft() for _ in range(min(at_once, len(waiting)))]
        order += waiting
    return order
