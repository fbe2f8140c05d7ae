"""Reads a broker's instrument list in a process of its own, and prints what that cost, as JSON.

The settings of the account come on stdin, as a JSON object.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path

from brokerpool.brokers import registry
from brokerpool.settings import AccountSettings
from tests.measuring import turns


def memory() -> dict[str, float]:
    """Return what is kept now, and what there was at the peak, in MiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    # Not `ru_maxrss`, in which the peak of the process stands that started this one.
    kept, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return {"kept": kept, "peak": peak}


async def main() -> None:
    settings = AccountSettings.model_validate(json.load(sys.stdin))
    account = registry.broker(settings.broker).account(settings.access())
    gc.collect()
    gc.freeze()
    async with turns() as measured:
        book = await account.instruments()
    gc.collect()
    longest = sorted(measured.turns)
    told = {"rows": len(book), "seconds": sum(longest), "turns": longest[-20:], **memory()}
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
