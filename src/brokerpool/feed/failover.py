"""Who is carried where while connections are out: guests in what room there is, by priority."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from brokerpool.feed.placement import Placement
from brokerpool.instruments import Instrument


@dataclass(frozen=True, slots=True)
class Lodging:
    """What has to change so that the most important symbols are carried."""

    #: Guests that have to leave, because a more important symbol or the slot's own needs the place.
    evicted: list[Instrument]
    #: Guests to be taken in, by slot.
    lodged: dict[str, list[Instrument]]
    #: Symbols for which there is no room anywhere, the most important first.
    stranded: list[Instrument]


def lodging(
    placement: Placement,
    *,
    leaving: Sequence[str],
    hosts: Collection[str],
    dialling: Collection[str] = (),
    extra: Sequence[tuple[str, int]] = (),
    priority: Callable[[Instrument], float],
) -> Lodging:
    """Decide which symbols of the slots in `leaving` are guests, and in which of the `hosts`.

    Hosts are open slots that work; `dialling` ones keep the guests that they have and take in no more;
    `extra` are slots that may be opened besides, as (name, room). Among equals those stay that have a place
    already, then the order of the placement decides. Symbols at home in a host keep their places whatever
    the guests' priority is. Guests whose home is not in `leaving` stay where they are, as far as the slot's
    own symbols leave room, until their home has taken over again.
    """
    ranked = sorted((i for name in leaving for i in placement.homes(name)), key=lambda i: -priority(i))
    displaced = set(ranked)
    evicted: list[Instrument] = []
    rooms: dict[str, int] = {}
    for name in (*hosts, *dialling, *leaving):
        rooms[name] = placement.slot_size - len(placement.homes(name))
        settled = [guest for guest in placement.guests(name) if guest not in displaced]
        # A slot that has become too full for its guests: its own symbols come first.
        evicted += settled[max(0, rooms[name]) :]
        rooms[name] = max(0, rooms[name] - len(settled))
    kept: set[Instrument] = set()
    for instrument in ranked:
        host = placement.guest(instrument)
        if host is not None and host in dialling and rooms[host] > 0:
            rooms[host] -= 1
            kept.add(instrument)
    ranked = [i for i in ranked if i not in kept]
    rooms = {name: rooms[name] for name in hosts}
    total = sum(rooms.values()) + sum(room for _, room in extra)
    # Among equals those that have a place; the sort is stable.
    ranked.sort(key=lambda i: (-priority(i), placement.guest(i) not in rooms))
    chosen, stranded = ranked[:total], ranked[total:]
    evicted += [i for i in stranded if placement.guest(i) is not None]
    homeless: list[Instrument] = []
    for instrument in chosen:
        host = placement.guest(instrument)
        if host is not None and rooms.get(host, 0) > 0:
            rooms[host] -= 1
        else:
            homeless.append(instrument)
            if host is not None:
                evicted.append(instrument)
    lodged: dict[str, list[Instrument]] = {}
    taken = 0
    for name, room in (*rooms.items(), *extra):
        share = homeless[taken : taken + room]
        if share:
            lodged[name] = share
            taken += len(share)
    return Lodging(evicted, lodged, stranded)
