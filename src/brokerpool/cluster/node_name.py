"""What a process is called in its cluster."""

from __future__ import annotations

import re
import secrets
import socket

from brokerpool.settings import ClusterSettings


def node_name(settings: ClusterSettings) -> str:
    """Return the name of the settings, else the machine's with four digits that no process before had."""
    if settings.node:
        return settings.node
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:27] or "node"
    return f"{host}-{secrets.token_hex(2)}"
