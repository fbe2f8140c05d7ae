"""Whether a connection still does its work, told by the times at which it was heard and data came."""

from __future__ import annotations

from enum import Enum

#: The share of the limit for silence after which nothing is moved to a socket any more.
FADING = 0.6
#: Without data for this long a probe is sent: its answer tells a dead line from a mute one.
PROBE_SECONDS = 5.0
#: The least pause in the data of an open market for which a socket is given up as mute.
MUTE_SECONDS = 10.0
#: The same for a socket that has had no data at all.
FIRST_DATA_SECONDS = 15.0
#: A mute socket's successors get twice the time of the one before, up to this: a market that is halted in the
#: middle of the day must not be dialled at full speed.
PATIENCE_SECONDS = 900.0
#: Data this long after the dial, and not just the broker's first answer, proves that a socket is not mute.
PROVEN_SECONDS = 10.0


class Verdict(Enum):
    """What is to be done about a socket."""

    #: Ask for a sign of life.
    PROBE = "probe"
    #: Nothing at all comes, heartbeats included: the line is dead, whatever TCP says.
    SILENT = "silent"
    #: Signs of life come, and no data though the market is open.
    MUTE = "mute"


class Rhythm:
    """How long the pauses between something's signs usually are, learned from a look now and then."""

    __slots__ = ("_hole", "last", "usual")

    def __init__(self) -> None:
        self.last: float | None = None
        self._hole = False
        #: The longest pause of late, in seconds; 0 before the first. It fades with each sign, so that one
        #: quiet lunch break does not dull the watch for the rest of the day.
        self.usual = 0.0

    def look(self, last: float) -> None:
        """Learn from the time of the newest sign; the same time again teaches nothing."""
        if last == self.last:
            return
        if self.last is not None and not self._hole:
            self.usual = max(last - self.last, self.usual * 0.98)
        self.last, self._hole = last, False

    def restart(self, last: float | None) -> None:
        """Do not learn from the pause that is going on since `last`: it is a hole, not a habit."""
        self.last, self._hole = last, True


class Liveness:
    """One connection's signs of life; what it has learned outlives its sockets.

    Anything that the broker sends is a sign of life, heartbeats and answers to pings too. Only ticks are
    data, and their absence counts only while the market is open.
    """

    def __init__(self, silence_seconds: float, now: float) -> None:
        self.silence_seconds = silence_seconds
        self._rhythm = Rhythm()
        self._patience = 1.0  # by how much the limits are stretched
        self.opened(now)

    def opened(self, now: float) -> None:
        """A new socket is open."""
        self._opened_at = self._heard_at = self._quiet_from = now
        self._data_at: float | None = None
        self._probed = False
        self._rhythm.restart(None)

    def heard(self, now: float) -> None:
        """Note any message or control frame."""
        self._heard_at = now

    def ticked(self, now: float) -> None:
        """Note a message with data."""
        self._heard_at = self._data_at = self._quiet_from = now

    def fading(self, now: float) -> bool:
        """Tell whether not even a sign of life has come for most of the time after which it is given up."""
        return now - self._heard_at > FADING * self.silence_seconds

    def forgive(self, now: float) -> None:
        """Let the silence begin now: it was this process that stood still, or the market was closed."""
        self._heard_at = max(self._heard_at, now)
        self._quiet_from = now
        self._rhythm.restart(self._data_at)

    def gave_up(self) -> None:
        """Note that a socket was given up as mute; its successor gets more time."""
        self._patience = min(PATIENCE_SECONDS, self._patience * 2)

    @property
    def data_at(self) -> float:
        """When the present socket brought data last; when it was opened before the first."""
        return self._opened_at if self._data_at is None else self._data_at

    def probed(self) -> None:
        """Note that a probe was sent; one is enough for a spell of quiet."""
        self._probed = True

    @property
    def mute_limit(self) -> float:
        """Seconds without data after which the present socket is mute."""
        least = FIRST_DATA_SECONDS if self._data_at is None else max(MUTE_SECONDS, 2 * self._rhythm.usual)
        return min(PATIENCE_SECONDS, least * self._patience)

    def verdict(self, now: float, *, trading: bool) -> Verdict | None:
        """Judge the silence, every second or so; `trading` tells whether data is to be expected."""
        if now - self._heard_at >= self.silence_seconds:
            return Verdict.SILENT
        if not trading:
            self._quiet_from = now
            self._rhythm.restart(self._data_at)
            return None
        if self._data_at is not None:
            self._rhythm.look(self._data_at)
            if self._data_at - self._opened_at >= PROVEN_SECONDS:
                self._patience = 1.0
        quiet = now - self._quiet_from
        if quiet < PROBE_SECONDS:
            self._probed = False
        elif quiet >= self.mute_limit:
            return Verdict.MUTE
        elif not self._probed:
            return Verdict.PROBE
        return None
