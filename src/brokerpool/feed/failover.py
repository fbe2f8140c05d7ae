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
    priority: Callable[[Instrument], int],
) -> Lodging:
    """Decide which symbols of the slots in `leaving` are guests, and in which of the `hosts`.

    Hosts are open slots that work; `dialling` ones keep the guests that they have and take in no more;
    `extra` are slots that may be opened besides, as (name, room). Among
    equals those stay that have a place already, then the order of the placement decides. Symbols at home in
    a host keep their places whatever the guests' priority is. Guests of slots that are in neither list stay
    where they are until their home has taken over again.
    """
    displaced = {i: None for name in leaving for i in placement.homes(name)}
    evicted: list[Instrument] = []
    free: dict[str, int] = {}
    for name, homes in placement.loads.items():
        settled = [guest for guest in placement.guests(name) if guest not in displaced]
        free[name] = placement.slot_size - homes - len(settled)
        if free[name] < 0:  # its own symbols come first
            evicted += settled[free[name] :]
            free[name] = 0
    rooms = {name: free[name] for name in hosts}
    for name in dialling:
        rooms[name] = min(free[name], sum(guest in displaced for guest in placement.guests(name)))
    total = sum(rooms.values()) + sum(room for _, room in extra)

    def hosted(instrument: Instrument) -> bool:
        return placement.guest(instrument) in rooms

    ranked = sorted(displaced, key=lambda i: (-priority(i), not hosted(i)))
    chosen, stranded = ranked[:total], ranked[total:]
    evicted += [i for i in stranded if placement.guest(i) is not None]
    homeless: list[Instrument] = []
    for instrument in chosen:
        host = placement.guest(instrument)
        if host is not None and rooms.get(host, 0) > 0:
            rooms[host] -= 1
            continue
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
