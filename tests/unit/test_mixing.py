"""The order in which several workers have the tests."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.mixing import mixed


class Item(NamedTuple):
    path: Path
    number: int


def items(folder: str, files: list[int]) -> list[Item]:
    return [Item(Path(folder, f"test_{n}.py"), i) for n, size in enumerate(files) for i in range(size)]


sizes = st.lists(st.integers(1, 30), max_size=20)


@given(sizes, sizes, st.integers(1, 8))
def test_each_is_there_once(scenes: list[int], others: list[int], workers: int) -> None:
    given = [*items("tests/faults", scenes), *items("tests/unit", others)]
    assert Counter(mixed(given, workers)) == Counter(given)


def test_scenes_are_spread_over_the_first_nine_tenths_of_a_share_and_none_is_within_a_file() -> None:
    given = [*items("tests/faults", [4] * 15), *items("tests/unit", [10] * 60)]
    order = mixed(given, 2)
    for share in (order[:330], order[330:]):
        kinds = [item.path.parent.name for item in share]
        assert kinds.count("faults") == 30
        assert 12 <= kinds[:165].count("faults") <= 18, "of 30"
        assert "faults" not in kinds[300:]
        files = [item.path for item in share if item.path.parent.name == "unit"]
        assert len([1 for one, other in pairwise(files) if one != other]) == 29
        for (one, kind), (other, following) in pairwise(zip(share, kinds, strict=True)):
            if {kind, following} == {"faults", "unit"}:
                assert one.number == 9 or other.number == 0
