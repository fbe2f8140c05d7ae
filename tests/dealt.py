"""Tests in an order in which several workers are done at the same time.

pytest-xdist gives each worker a run of them, equally many, and who is done takes from the end of others'.
In the order of their folders one worker would have nearly all scenes, which take the longest and mostly wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby, islice

import pytest

#: Folders of tests that run whole programs, and wait for them.
SCENES = ("tests/browser/", "tests/faults/", "tests/sdk/")


def out(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return the tests so that each second worker begins with scenes, file by file, before others."""
    scenes = [item for item in items if item.nodeid.startswith(SCENES)]
    others = iter([item for item in items if not item.nodeid.startswith(SCENES)])
    files = [list(file) for _, file in groupby(scenes, lambda item: item.nodeid.partition("::")[0])]
    first, order = (workers + 1) // 2, list[pytest.Item]()
    left = len(items)
    for worker in range(workers):
        share = left // (workers - worker)
        left -= share
        own = list(chain.from_iterable(files[worker // 2 :: first])) if worker % 2 == 0 else []
        order += [*own, *islice(others, max(0, share - len(own)))]
    return [*order, *others]
