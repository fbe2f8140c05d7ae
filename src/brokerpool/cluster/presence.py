"""Who lives, by signs of life that are counted and a clock of one's own: no clock of others is believed."""

from __future__ import annotations

from collections.abc import Iterator


class Presence:
    """Those who have given another sign within their time to live; told the time in monotonic seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._counts: dict[str, int] = {}
        self._moved_at: dict[str, float] = {}

    def sign(self, name: str, count: int, now: float) -> bool:
        """Note a sign; tell whether it is one that was not known. The same one again proves nothing."""
        if self._counts.get(name) == count:
            return False
        self._counts[name] = count
        self._moved_at[name] = now
        return True

    def gone(self, name: str) -> None:
        """Note that somebody has left, and said so."""
        self._counts.pop(name, None)
        self._moved_at.pop(name, None)

    def lives(self, name: str, now: float) -> bool:
        """Tell whether the last new sign is young enough."""
        moved_at = self._moved_at.get(name)
        return moved_at is not None and now - moved_at < self._seconds

    def forgive(self, stood_still: float, now: float) -> None:
        """Give everybody the time in which nothing could be heard, for that says nothing about them."""
        for name, moved_at in self._moved_at.items():
            self._moved_at[name] = min(now, moved_at + stood_still)

    def living(self, now: float) -> Iterator[str]:
        """Give those who live, by name."""
        return (name for name in sorted(self._moved_at) if self.lives(name, now))

    def dead(self, now: float) -> list[str]:
        """Return those whose time is over, by name; they are told until they are `gone`."""
        return [name for name in sorted(self._moved_at) if not self.lives(name, now)]
