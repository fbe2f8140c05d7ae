"""Which of several accounts carries a symbol, whose ticks pass, who moves and who goes home; pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, QuoteTick, Tick

#: A connection that was out counts as back once it has brought data, and has stood for so long.
SETTLED_SECONDS = 2.0
#: The same where no data has come yet: within this time one that is mute is found out.
QUIET_SECONDS = 15.0
#: So much longer than the grace a symbol waits where other connections of its account work.
FAILOVER_SECONDS = 1.5
#: So long a symbol's home has to have served it before it goes home, doubled each time that was too soon.
HOLD_SECONDS = 3.0
MOST_HOLD_SECONDS = 300.0
#: A home that goes out again within this time after its symbols went home took them back too soon.
RELAPSE_SECONDS = 120.0
#: A home that brings nothing but older ticks is waited for no longer; the symbol's stay elsewhere ends then.
PATIENCE_SECONDS = 10.0
#: A tick with an older time than the last one passes all the same when that one is older than this.
FLOOR_SECONDS = 60.0
#: The same by the day's volume, which brokers may count in ways of their own: a hole that is no longer then.
VOLUME_SECONDS = 5.0


class Service(Enum):
    """How one account serves one symbol at a moment."""

    #: No live connection carries it.
    OUT = "out"
    #: The broker does not serve it, and said so by name.
    REFUSED = "refused"
    #: A live connection carries it, and has brought no data yet.
    OPENED = "opened"
    SERVED = "served"


@dataclass(slots=True)
class Presence:
    """How one account has served one symbol, by what was seen at each look; monotonic seconds."""

    #: Since when it does not, or not reliably; None while all is well.
    out_since: float | None = None
    #: Since when it does without a break; None while it does not.
    served_since: float | None = None
    refused: bool = False
    #: Whether it brought data at the last look.
    serving: bool = False

    def saw(self, service: Service, now: float) -> None:
        """Note how it is now; a short good time between two bad ones changes nothing."""
        self.refused, self.serving = service is Service.REFUSED, service is Service.SERVED
        if service in (Service.OUT, Service.REFUSED):
            self.served_since = None
            if self.out_since is None:
                self.out_since = now
            return
        if self.served_since is None:
            self.served_since = now
        settled = SETTLED_SECONDS if service is Service.SERVED else QUIET_SECONDS
        if self.out_since is not None and now - self.served_since >= settled:
            self.out_since = None

    def out(self, now: float, grace: float) -> bool:
        """Tell whether the account has been out for the grace and still is; a refusal gets no grace."""
        if self.refused:
            return True
        return self.out_since is not None and not self.serving and now - self.out_since >= grace

    def steady(self, now: float, hold: float) -> bool:
        """Tell whether the account has served the symbol without a break for `hold` seconds."""
        return self.served_since is not None and now - self.served_since >= hold


class Steadiness:
    """How long an account has to be back before symbols go home: longer, the less that is to be trusted."""

    def __init__(self) -> None:
        self.hold = HOLD_SECONDS
        self._returned_at: float | None = None

    def returned(self, now: float) -> None:
        """Symbols have gone home."""
        self._returned_at = now

    def went_out(self, now: float) -> None:
        """Symbols have to leave; doubles the hold if they had only just come, else it is what it was."""
        if self._returned_at is None:
            return
        early = now - self._returned_at < RELAPSE_SECONDS
        self.hold = min(MOST_HOLD_SECONDS, 2 * self.hold) if early else HOLD_SECONDS
        self._returned_at = None


@dataclass(slots=True, eq=False)
class Way:
    """Where a symbol is wanted, and whose ticks pass; accounts are numbers in order of preference."""

    home: int
    #: From which account ticks pass, or passed at last. It changes with a tick only.
    feeding: int
    #: What the accounts that carry it were asked for.
    mode: Mode
    priority: int
    #: The other account that carries it while its home is out, or new to it.
    guest: int | None = None
    at_home: Presence = field(default_factory=Presence)
    at_guest: Presence = field(default_factory=Presence)
    #: The last tick that passed, and the monotonic seconds at which it came, where that was from an account
    #: that feeds it no longer; None once one of its present account has passed.
    floor: Tick | None = None
    floor_at: float = 0.0
    #: How often the symbol is counted too much where the accounts' lost and unserved symbols are added up.
    down_twice: int = 0
    unserved_twice: int = 0
    #: Whether that account has let go of it since. It may carry it again, and then begins anew: of a gap that
    #: was told of its earlier time it knows nothing.
    left: bool = False

    @property
    def fed_by(self) -> int | None:
        """The account from which ticks pass; None from when that lets go of it until the next tick."""
        return None if self.left else self.feeding

    @property
    def carriers(self) -> tuple[int, ...]:
        """The accounts that carry it."""
        return (self.home,) if self.guest is None else (self.home, self.guest)

    @property
    def feeders(self) -> tuple[int, ...]:
        """The same: the one that feeds it first, else the first that is about to."""
        return tuple(sorted(self.carriers, key=lambda account: account != self.feeding))

    def takes_over(self, account: int, *, dark: bool, now: float, hold: float) -> bool:
        """Tell whether a tick of an account that does not feed the symbol may make it the one that does.

        It may while nothing else delivers (`dark`), and at home once that has been back for `hold` seconds.
        """
        return dark or (account == self.home and self.at_home.steady(now, hold))


class Due(Enum):
    """What is to be done about a symbol."""

    NOTHING = "nothing"
    #: Another account has to carry it.
    LEND = "lend"
    #: Its home carries it alone from now on.
    COME_HOME = "come home"


def due(way: Way, now: float, *, grace: float, hold: float, ticks_at_home: bool) -> Due:
    """Return what is to be done; `ticks_at_home` tells that a tick came there which was too old to pass."""
    if way.guest is None:
        return Due.LEND if way.at_home.out(now, grace) else Due.NOTHING
    if way.at_home.steady(now, hold) and way.fed_by == way.home:
        return Due.COME_HOME
    if ticks_at_home and way.at_home.steady(now, hold + PATIENCE_SECONDS):
        return Due.COME_HOME
    if way.at_guest.out(now, grace) and way.at_home.out(now, grace):
        return Due.LEND
    return Due.NOTHING


class Order(Enum):
    """How a tick of one account lies to the last one that passed, which is another account's."""

    OLDER = "older"
    #: The same trade, by another account.
    SAME = "same"
    #: As far as it can be told.
    NEWER = "newer"


def order(tick: Tick, last: Tick, age: float) -> Order:
    """Return how a tick lies to the last one that passed, which came `age` seconds ago.

    The day's volume numbers the trades of a symbol, so it decides where both have it; a time may be that of
    the arrival, or of whole seconds.
    """
    same = False
    if age < VOLUME_SECONDS and isinstance(tick, QuoteTick) and isinstance(last, QuoteTick):
        if tick.volume != last.volume and tick.volume and last.volume:
            return Order.OLDER if tick.volume < last.volume else Order.NEWER
        same = tick.volume == last.volume > 0 and tick.ltp == last.ltp
    if 0 < tick.timestamp < last.timestamp and age < FLOOR_SECONDS:
        return Order.OLDER
    return Order.SAME if same else Order.NEWER


class RoutingTable:
    """The ways of all wanted symbols, and who is where."""

    def __init__(self, accounts: int) -> None:
        self.ways: dict[Instrument, Way] = {}
        #: By account: who is at home there, and who is a guest; dicts as ordered sets.
        self.homes: list[dict[Instrument, None]] = []
        self.guests: list[dict[Instrument, None]] = []
        #: By account: how many of its symbols at home another account carries.
        self.away: list[int] = []
        #: By account: the symbols whose ticks from there have to be judged one by one.
        self.judged: list[dict[Instrument, Way]] = []
        for _ in range(accounts):
            self.add_account()

    def add_account(self) -> int:
        """Have one account more, and return its number."""
        self.homes.append({})
        self.guests.append({})
        self.away.append(0)
        self.judged.append({})
        return len(self.away) - 1

    def enter(self, instrument: Instrument, home: int, mode: Mode, priority: int) -> Way:
        """Give a symbol that has none its home."""
        way = self.ways[instrument] = Way(home, home, mode, priority)
        self.homes[home][instrument] = None
        return way

    def host(self, instrument: Instrument, account: int) -> None:
        """Have another account carry the symbol besides its home; ends a stay elsewhere."""
        way = self.ways[instrument]
        assert account != way.home
        self._leave(instrument, way)
        way.guest, way.at_guest = account, Presence()
        self.guests[account][instrument] = None
        self.away[way.home] += 1
        self._judge(instrument, way)

    def leave(self, instrument: Instrument) -> None:
        """End the symbol's stay away from home."""
        way = self.ways[instrument]
        self._leave(instrument, way)
        self._judge(instrument, way)

    def rehome(self, instrument: Instrument, account: int) -> None:
        """Give the symbol another home, where it goes with its first tick; the old one has it till then."""
        way = self.ways[instrument]
        assert way.guest is None
        assert account != way.home
        old = way.home
        del self.homes[old][instrument]
        self.homes[account][instrument] = None
        way.home, way.guest = account, old
        way.at_guest, way.at_home = way.at_home, Presence(served_since=float("-inf"))
        self.guests[old][instrument] = None
        self.away[account] += 1
        self._judge(instrument, way)

    def stay(self, instrument: Instrument) -> None:
        """Make the account where the symbol is a guest its home, and the only one that carries it."""
        way = self.ways[instrument]
        assert way.guest is not None
        old, new = way.home, way.guest
        del self.homes[old][instrument], self.guests[new][instrument]
        self.away[old] -= 1
        self.judged[old].pop(instrument, None)
        self.homes[new][instrument] = None
        way.home, way.guest, way.at_home = new, None, way.at_guest
        way.left = way.left or way.feeding == old
        self._judge(instrument, way)

    def feed(self, instrument: Instrument, account: int) -> None:
        """Let the symbol's ticks pass from this account, which carries it, and from no other."""
        way = self.ways[instrument]
        way.feeding, way.left, way.floor = account, False, None
        self._judge(instrument, way)

    def keep_floor(self, instrument: Instrument, tick: Tick, at: float) -> None:
        """Let no tick pass that is older than this, the last one of an account that is let go of."""
        way = self.ways[instrument]
        if way.floor is None or order(tick, way.floor, at - way.floor_at) is not Order.OLDER:
            way.floor, way.floor_at = tick, at
        self._judge(instrument, way)

    def remove(self, instrument: Instrument) -> Way:
        """Forget the symbol and return its way. Raises KeyError when it has none."""
        way = self.ways.pop(instrument)
        self._leave(instrument, way)
        del self.homes[way.home][instrument]
        self.judged[way.home].pop(instrument, None)
        return way

    def weakest(self, account: int, most: int) -> list[Instrument]:
        """Return guests of an account, those of the lowest priority first, and of these the newest."""
        newest_first = reversed(self.guests[account])
        return heapq.nsmallest(most, newest_first, key=lambda i: self.ways[i].priority)

    def by_priority(self, instruments: Iterable[Instrument]) -> list[Instrument]:
        """Return those that have a way, the highest priority first, and of these in their order."""
        known = [i for i in instruments if i in self.ways]
        return sorted(known, key=lambda i: -self.ways[i].priority)

    def __len__(self) -> int:
        return len(self.ways)

    def __repr__(self) -> str:
        loads = ", ".join(f"{len(h)}+{len(g)}" for h, g in zip(self.homes, self.guests, strict=True))
        return f"<RoutingTable {len(self)} symbols, at home + guests by account: {loads}>"

    # -- inside -------------------------------------------------------------------------------------------

    def _leave(self, instrument: Instrument, way: Way) -> None:
        if way.guest is not None:
            del self.guests[way.guest][instrument]
            self.away[way.home] -= 1
            self.judged[way.guest].pop(instrument, None)
            way.left = way.left or way.feeding == way.guest
            way.guest = None

    def _judge(self, instrument: Instrument, way: Way) -> None:
        for account in way.carriers:
            if way.guest is not None or way.fed_by != account or way.floor is not None:
                self.judged[account][instrument] = way
            else:
                self.judged[account].pop(instrument, None)
