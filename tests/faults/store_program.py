"""A process for the tests that kill or starve it: writes without an end and prints what is acknowledged.

`python -m tests.faults.store_program URL ROUND [BYTES]`; with BYTES no file of it may grow beyond that,
and it ends with the code of the error that this makes.
"""

from __future__ import annotations

import asyncio
import resource
import sys

from brokerpool.brokers.login import Credentials
from brokerpool.db.pool import DatabasePool
from brokerpool.errors import StoreError
from brokerpool.event_journal import Event, Journal
from brokerpool.store.gateway_store import Store

SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="


async def write(url: str, turn: str) -> None:
    """Write keys, revocations and logins, with history beside them, until killed."""
    async with Store(DatabasePool(url), secret_keys=SECRET_KEY) as store:
        say("open")
        journal = Journal()
        store.follow(journal)
        for n in range(1_000_000):
            for _ in range(20):
                journal.note(Event.LOST, reason=f"number {n}")
            store.note_statistics({"n": n, "weight": "x" * 5000})
            say("key", f"{turn}-{n}", await store.create_key(f"{turn}-{n}"))
            if n % 2:
                await store.revoke_key(f"{turn}-{n}")
                say("revoked", f"{turn}-{n}")
            say(
                "login",
                str(await store.save_login("zerodha", Credentials(f"token {turn} {n}"))),
                f"{turn} {n}",
            )


def say(*words: str) -> None:
    """Print a line that the reader has even if this process dies right after it."""
    print("\t".join(words), flush=True)


def main(url: str, turn: str, most_bytes: str | None = None) -> None:
    """Run until killed, or until a file would become too large."""
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most_bytes), int(most_bytes)))
    try:
        asyncio.run(write(url, turn))
    except StoreError as error:
        say("error", error.code.name, str(error).replace("\n", " "))


if __name__ == "__main__":
    main(*sys.argv[1:])
