"""What an import costs: CPU time in fresh processes, the best of five, and which big libraries come along."""

from __future__ import annotations

import subprocess
import sys

STATEMENTS = (
    "import brokerpool",
    "from brokerpool import Instrument, Mode, Tick",
    "from brokerpool import WebSocketPool, ZerodhaFeed",
    "from brokerpool import BrokerClient",
    "from brokerpool import DatabasePool",
)
BIG = ("aiohttp", "asyncio", "msgspec", "picows", "pydantic", "sqlalchemy")


def measured(statement: str) -> tuple[float, str]:
    """Return the milliseconds of one import, and the libraries that were loaded."""
    program = (
        f"import sys, time\nbegan = time.process_time()\n{statement}\n"
        f"print(time.process_time() - began, *[name for name in {BIG} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, _, loaded = ran.stdout.strip().partition(" ")
    return float(seconds) * 1000, loaded


if __name__ == "__main__":
    for statement in STATEMENTS:
        best, loaded = min(measured(statement) for _ in range(5))
        print(f"{best:5.0f} ms  {statement:55} {loaded}")
