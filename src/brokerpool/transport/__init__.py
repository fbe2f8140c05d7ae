"""WebSockets on both sides, behind an interface of our own."""

from brokerpool.transport.client import DialError, dial
from brokerpool.transport.open_websocket import Link, LinkHandler
from brokerpool.transport.server import LinkServer, Refusal, UpgradeRequest, serve

__all__ = ["DialError", "Link", "LinkHandler", "LinkServer", "Refusal", "UpgradeRequest", "dial", "serve"]
