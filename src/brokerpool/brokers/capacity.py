"""How much one account's sockets may carry: a rule of the broker's, for modes need not count alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from brokerpool.ticks import Mode

#: How many instruments are carried, by mode; index 0 is not used.
Counts: TypeAlias = Sequence[int]

EMPTY: Counts = (0, 0, 0, 0)


class Limit(NamedTuple):
    """At most so much on one socket, where an instrument takes so much in each mode."""

    most: int
    #: By mode; index 0 is not used.
    weights: tuple[int, int, int, int]
    #: Whether it holds only while instruments of more than one kind are on the socket.
    mixed: bool = False

    def load(self, carried: Counts) -> int:
        """Return what is taken of it."""
        _, ltp, quote, depth = self.weights
        return ltp * carried[1] + quote * carried[2] + depth * carried[3]

    def __str__(self) -> str:
        told = [
            mode.label if weight == 1 else f"{weight} x {mode.label}"
            for mode, weight in zip(Mode, self.weights[1:], strict=True)
            if weight
        ]
        return f"{self.most} {' + '.join(told)}"


class ModeRule(NamedTuple):
    """What holds on a socket besides the number of its instruments."""

    limits: tuple[Limit, ...]
    #: The kind of each mode, by mode; modes of one kind do not mix.
    kinds: tuple[int, int, int, int] = (0, 0, 1, 2)

    def mixed(self, carried: Counts) -> bool:
        """Tell whether there is more than one kind."""
        return len({self.kinds[mode] for mode in Mode if carried[mode]}) > 1

    def in_force(self, carried: Counts) -> Iterable[Limit]:
        """Return the limits that hold for what is carried."""
        mixed = self.mixed(carried)
        return (limit for limit in self.limits if mixed or not limit.mixed)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What fits: so many instruments on a socket, so many sockets, and what else the broker's modes ask.

    Whatever fits still fits when some of it is dropped. Another mode of an instrument may not fit, be it a
    higher or a lower one: some brokers allow less where modes mix.
    """

    #: Instruments on one socket, in the mode of which it carries most.
    symbols: int
    sockets: int
    modes: ModeRule | None = None

    def __post_init__(self) -> None:
        if self.symbols < 1 or self.sockets < 1:
            raise ValueError("a capacity is at least one socket with room for at least one instrument")

    @property
    def most(self) -> int:
        """Instruments that a socket carries in the mode of which it carries most."""
        return self.symbols if self.modes is None else max(self.room(EMPTY, mode) for mode in Mode)

    @property
    def by_mode(self) -> bool:
        """Whether modes are told apart at all."""
        return self.modes is not None

    def fits(self, carried: Counts) -> bool:
        """Tell whether one socket may carry so many instruments in each mode."""
        if sum(carried) > self.symbols:
            return False
        return self.modes is None or all(
            limit.load(carried) <= limit.most for limit in self.modes.in_force(carried)
        )

    def room(self, carried: Counts, mode: Mode) -> int:
        """Return how many more instruments fit in the mode on a socket that carries so many in each."""
        room = self.symbols - sum(carried)
        if self.modes is not None and room > 0:
            one_more = list(carried)
            one_more[mode] += 1
            for limit in self.modes.in_force(one_more):
                left, weight = limit.most - limit.load(carried), limit.weights[mode]
                if left < 0:
                    return 0
                room = min(room, left // weight) if weight else room
        return max(0, room)

    def share(self, carried: Counts) -> float:
        """Return how full a socket is, 1.0 when a limit is reached."""
        shares = [sum(carried) / self.symbols]
        if self.modes is not None:
            shares += [limit.load(carried) / limit.most for limit in self.modes.in_force(carried)]
        return max(shares)

    def lowered(self, symbols: int, sockets: int) -> Capacity:
        """Return the capacity with at most so many instruments a socket and so many sockets."""
        return replace(self, symbols=min(self.symbols, symbols), sockets=min(self.sockets, sockets))

    def divided(self, replicas: int) -> Capacity:
        """Return the share of each of several replicas, which carry the same on sockets of their own."""
        return replace(self, sockets=self.sockets // replicas)

    def __str__(self) -> str:
        text = f"{self.symbols} instruments a socket, {self.sockets} socket{'s' if self.sockets > 1 else ''}"
        return f"{text}; {self.of_modes}" if self.modes is not None else text

    @property
    def of_modes(self) -> str:
        """What holds on each socket besides the number, in words; empty when nothing does."""
        if self.modes is None:
            return ""
        always = ", ".join(str(limit) for limit in self.modes.limits if not limit.mixed)
        mixed = ", ".join(str(limit) for limit in self.modes.limits if limit.mixed)
        told = [f"at most {always} a socket" if always else "", f"where they mix {mixed}" if mixed else ""]
        return "; ".join(filter(None, told))


def mode_rule(table: Mapping[str, Mapping[str, Any]], places: int) -> ModeRule | None:
    """Read the `[capacity]` table of a broker's `limits.toml`; None for an empty one.

    Modes are spelt `ltp`, `quote`, `depth`, and several that share a limit `quote+depth`. `weights` says how
    many of a socket's `places` an instrument takes in each mode, `most` how many instruments fit in a mode,
    `mixed` the same where more than one kind of mode is on a socket, and `kinds` which modes are of one kind.
    Raises KeyError and ValueError for anything else.
    """
    values = {name: figure["value"] for name, figure in table.items()}
    limits: list[Limit] = []
    if weights := values.pop("weights", None):
        ltp, quote, depth = (int(weights[mode.name.lower()]) for mode in Mode)
        limits.append(Limit(places, (0, ltp, quote, depth)))
    for name in ("most", "mixed"):
        for spelling, most in values.pop(name, {}).items():
            _, ltp, quote, depth = (int(number in _modes(spelling)) for number in range(4))
            limits.append(Limit(int(most), (0, ltp, quote, depth), name == "mixed"))
    kinds = list(ModeRule(()).kinds)
    for number, spelling in enumerate(values.pop("kinds", ())):
        for mode in _modes(spelling):
            kinds[mode] = number
    if values:
        raise ValueError(f"a [capacity] table has no {', '.join(values)}")
    return ModeRule(tuple(limits), (kinds[0], kinds[1], kinds[2], kinds[3])) if limits else None


def _modes(spelling: str) -> list[Mode]:
    return [Mode[name.strip().upper()] for name in spelling.split("+")]
