"""The operator's dashboard: a page without an outside host, and the stream of numbers that it shows."""

from brokerpool.gateway.dashboard.broadcast import Broadcast
from brokerpool.gateway.dashboard.routes import dashboard
from brokerpool.gateway.dashboard.snapshot import Sources

__all__ = ["Broadcast", "Sources", "dashboard"]
