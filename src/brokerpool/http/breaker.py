"""Whether the broker is worth a call: closed, open for a while, and then one probe at a time."""

from __future__ import annotations

from collections import deque

#: So many faults among the last so many calls open the breaker; small, for brokers see few calls.
FAULTS = 5
AMONG = 10

#: Seconds for which it stays open; doubled each time that a probe fails, up to the cap.
COOL_DOWN = 5.0
MAX_COOL_DOWN = 60.0


class Breaker:
    """Refuses calls while a broker fails, and lets probes find out whether it still does.

    A fault is the broker's only: no answer, or one of 500 and above. What the caller did wrong or called off
    says nothing about the broker and is `abandoned`.
    """

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=AMONG)
        self._opened: float | None = None
        self._cool_down = COOL_DOWN
        self._probing = False

    @property
    def closed(self) -> bool:
        """True when every call may be tried."""
        return self._opened is None

    @property
    def faults(self) -> int:
        """Faults among the calls that are remembered."""
        return sum(self._recent)

    def refused_for(self, now: float) -> float | None:
        """Return the seconds until a call makes sense; None when one may be tried now."""
        if self._opened is None:
            return None
        left = self._opened + self._cool_down - now
        if left > 0:
            return left
        return COOL_DOWN if self._probing else None

    def admit(self, now: float, *, early: bool = False) -> bool:
        """Begin a call that `refused_for` did not refuse, and tell whether it is the probe.

        An `early` one need not wait for the end of the rest. What it returns has to be handed to the one of
        `succeeded`, `failed` and `abandoned` that follows.
        """
        if self._opened is None or self._probing:
            return False
        if not early and self.refused_for(now) is not None:
            return False
        self._probing = True
        return True

    def succeeded(self, *, probe: bool) -> None:
        """Note an answer; the answer to a probe closes the breaker."""
        if self._opened is None:
            self._recent.append(False)
        elif probe:
            self._close()

    def failed(self, now: float, *, probe: bool) -> None:
        """Note a fault of the broker."""
        if probe:
            self._probing = False
            self._opened = now
            self._cool_down = min(MAX_COOL_DOWN, self._cool_down * 2)
        elif self._opened is None:
            self._recent.append(True)
            if self.faults >= FAULTS:
                self._opened = now

    def abandoned(self, *, probe: bool) -> None:
        """Note a call that told nothing about the broker; after a probe the next call is the probe."""
        if probe:
            self._probing = False

    def state(self, now: float) -> str:
        """Return "closed", "open" or "half-open"."""
        if self._opened is None:
            return "closed"
        return "open" if now < self._opened + self._cool_down else "half-open"

    def _close(self) -> None:
        self._recent.clear()
        self._opened = None
        self._cool_down = COOL_DOWN
        self._probing = False
