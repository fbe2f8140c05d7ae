"""The order in which several workers get the tests."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dealt import SCENES, out


@given(st.integers(0, 60), st.integers(0, 200), st.integers(2, 8))
def test_each_second_worker_begins_with_scenes_whole_files_of_which_stay_together(
    scenes: int, others: int, workers: int
) -> None:
    names = [f"tests/faults/test_{n // 3}.py::test_{n}" for n in range(scenes)]
    names += [f"tests/unit/test_{n // 9}.py::test_{n}" for n in range(others)]
    items: list[pytest.Item] = [SimpleNamespace(nodeid=name) for name in names]  # type: ignore[misc]
    dealt = [item.nodeid for item in out(items, workers)]
    assert sorted(dealt) == sorted(names)
    files = [name.partition("::")[0] for name in dealt if name.startswith(SCENES)]
    changes = sum(one != other for one, other in pairwise(files))
    assert changes < max(1, len(set(files)))
