"""The order of tests for several workers: each has something to compute while another one waits.

Scenes wait most of their time, for seconds that a promise is about; all other tests compute. In the order of
their names one worker would have all scenes, and the others be done long before it.
"""

from __future__ import annotations

import math
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


#: Of each share, in which its scenes are begun: none is to be left for the end.
_BEGUN = 0.9


def mixed(items: Sequence[T], workers: int) -> list[T]:
    """Return them in as many even shares, as workers get them: scenes between the files of the others.

    The scenes of a share are spread over its first nine tenths: most of a run is waiting, and where all of
    it came first, all that computes would have to be done after it, by two processors.
    """
    scenes = [item for item in items if item.path.parent.name in _SCENES]
    others = [item for item in items if item.path.parent.name not in _SCENES]
    order: list[T] = []
    for worker in range(workers):
        waiting = scenes[worker::workers]
        share = others[len(others) * worker // workers : len(others) * (worker + 1) // workers]
        files = [[*file] for _, file in groupby(share, key=lambda item: item.path)]
        begun = 0
        for number, file in enumerate(files, 1):
            order += file
            due = math.ceil(len(waiting) * number / len(files) / _BEGUN)
            order += waiting[begun:due]
            begun = due
        order += waiting[begun:]
    return order
