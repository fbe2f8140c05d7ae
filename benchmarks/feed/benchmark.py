"""What a broker's module brings: what is decoded, by what of ours, and what the ratio has to be."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol

from brokerpool.brokers.wire import Wire
from brokerpool.instruments import Instrument, Token
from tests.sdk.environments import REQUIREMENTS, environment, place

_HERE = Path(__file__).parent
_PEER = "_peer"


class Frames(Protocol):
    """Makes messages as the broker sends them, the same for the same arguments."""

    def __call__(self, mode: str, packets: int, count: int, /) -> Sequence[bytes]:
        """Return `count` messages of so many packets each, of instruments that `routes` names."""
        ...


class Case(NamedTuple):
    """One loopback run: how many messages of how many packets in which mode."""

    mode: str
    packets: int
    messages: int


class Benchmark(NamedTuple):
    """One broker's feed; the module has it under the name `BENCHMARK`."""

    #: How the tables call our side and the official client's.
    ours: str
    peer: str
    #: How many times less CPU a packet is wanted, in messages of `judged_size` packets.
    target: float
    judged_size: int
    modes: Sequence[str]
    sizes: Sequence[int]
    frames: Frames
    wire: Callable[[], Wire]
    routes: Mapping[Token, Instrument]
    #: How many messages a read of a busy feed has, where the wire takes several at once: these are judged.
    together: int = 1
    #: What is received over loopback as well; nothing where the official client has no `receive`.
    cases: Sequence[Case] = ()


def brokers() -> list[str]:
    """Return the names of the brokers whose feed can be measured."""
    modules = {module.name for module in pkgutil.iter_modules([str(_HERE)])}
    return sorted(name for name in modules if name + _PEER in modules)


def benchmark(broker: str) -> Benchmark:
    """Return what a broker's module brings."""
    found: Benchmark = import_module(f"benchmarks.feed.{broker}").BENCHMARK
    return found


def peer_command(broker: str, *arguments: str) -> list[str]:
    """Return how the official client's process is started; raises CannotMakeError where it cannot be."""
    requirements = REQUIREMENTS / f"{broker}.txt"
    # A client without a list of its own stands among what the project is tested with.
    python = environment(requirements, place()) if requirements.exists() else Path(sys.executable)
    return [str(python), "-m", "benchmarks.feed.peer_process", broker + _PEER, *arguments]
