"""How much one attacker may do: so many a second and no more, until its time is up; and what it managed."""

from __future__ import annotations

import threading
import time

#: An attacker that was held up makes up for no more than this, or its flood would come in one burst.
_OWED_SECONDS = 0.05


class Pace:
    """Holds one attacker to its limit, and counts; `stop` may be called from another thread."""

    def __init__(self, most: float) -> None:
        """`most` a second, of whatever the attacker counts."""
        self._most = most
        self._over = threading.Event()
        self._next = time.monotonic()
        #: What it sent, or did.
        self.done = 0
        #: How often the gateway closed its connection, or let it have none.
        self.shut_out = 0

    @property
    def going(self) -> bool:
        """False once the attack is over."""
        return not self._over.is_set()

    def take(self, count: int = 1) -> bool:
        """Wait until so many more are allowed; False when the attack is over, which may be meanwhile."""
        now = time.monotonic()
        self._next = max(self._next, now - _OWED_SECONDS)
        if self._next > now:
            self._over.wait(self._next - now)
        self._next += count / self._most
        return self.going

    def stop(self) -> None:
        """End the attack; whoever waits is woken."""
        self._over.set()
