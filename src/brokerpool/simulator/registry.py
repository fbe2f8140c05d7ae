"""Which brokers can be simulated: the folders beside this file that have a front, found by their names."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brokerpool.simulator.broker import SimulatedBroker

_HERE = Path(__file__).parent


def brokers() -> list[str]:
    """Return the names of the brokers that can be simulated; imports none of them."""
    return [
        package.name
        for package in pkgutil.iter_modules([str(_HERE)])
        if any(module.name == "broker" for module in pkgutil.iter_modules([str(_HERE / package.name)]))
    ]


def front(broker: str) -> type[SimulatedBroker]:
    """Return the front of a broker. Raises ValueError for one that cannot be simulated."""
    if broker not in brokers():
        raise ValueError(f"{broker!r} cannot be simulated; brokers: {', '.join(brokers())}")
    found: type[SimulatedBroker] = import_module(f"brokerpool.simulator.{broker}.broker").Simulator
    return found
