"""For the tests of an adapter: a scripted broker in virtual time, and the promises that every adapter keeps.

`AdapterConformance` needs pytest and hypothesis; nothing else here does.
"""

from typing import TYPE_CHECKING

from brokerpool import lazy_imports
from brokerpool.testing.scenario import Stage, stage
from brokerpool.testing.scripted_broker import Greeting, Refusal, ScriptedBroker
from brokerpool.testing.scripted_feed import ScriptedDialect, ScriptedFeed, ScriptedWire
from brokerpool.testing.scripted_socket import Socket
from brokerpool.testing.traffic_ledger import Ledger
from brokerpool.testing.virtual_loop import VirtualLoop, run
from brokerpool.testing.wire_dialect import Dialect, Heard, Quote, served_mode

if TYPE_CHECKING:
    from brokerpool.testing.conformance import AdapterConformance

__all__ = [
    "AdapterConformance",
    "Dialect",
    "Greeting",
    "Heard",
    "Ledger",
    "Quote",
    "Refusal",
    "ScriptedBroker",
    "ScriptedDialect",
    "ScriptedFeed",
    "ScriptedWire",
    "Socket",
    "Stage",
    "VirtualLoop",
    "run",
    "served_mode",
    "stage",
]

__getattr__ = lazy_imports.attributes(__name__, {"AdapterConformance": "conformance"})
