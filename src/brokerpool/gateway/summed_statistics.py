"""The numbers of several accounts as those of one; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Of these the largest counts, not the sum.
_LARGEST = frozenset({"oldest_wait_seconds", "max_symbols_per_connection"})


def summed(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return numbers that have been added up, member by member, and lists put one behind the other.

    A share that was not counted is worked out anew, a text is that of the first. What one of them has and
    another one not is kept.
    """
    found: dict[str, Any] = {}
    for stats in each:
        for name, value in stats.items():
            found[name] = _both(name, found[name], value) if name in found else value
    if "reuse_ratio" in found:
        calls = found["created"] + found["reused"]
        found["reuse_ratio"] = found["reused"] / calls if calls else None
    return found


def _both(name: str, one: Any, other: Any) -> Any:  # noqa: ANN401  (of any member)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return summed([one, other])
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if isinstance(one, bool) or not isinstance(one, int | float) or not isinstance(other, int | float):
        return one if other is None or one is not None else other
    return max(one, other) if name in _LARGEST else one + other
