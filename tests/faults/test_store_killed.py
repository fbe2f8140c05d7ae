"""A process is killed, or its disk ends, in the middle of writes: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from brokerpool.brokers.login import Credentials
from brokerpool.db.pool import DatabasePool
from brokerpool.store.gateway_store import Store
from tests import preloaded
from tests.faults.store_program import SECRET_KEY
from tests.postgres import DIALECTS, database

ROUNDS = 3
ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.faults.store_program")


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as url:
        yield url


class Acknowledged:
    """What the writing processes were told is written."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.revoked: set[str] = set()
        self.version, self.token = 0, ""

    def note(self, line: str) -> None:
        kind, *words = line.rstrip("\n").split("\t")
        if kind == "key":
            self.keys[words[0]] = words[1]
        elif kind == "revoked":
            self.revoked.add(words[0])
        elif kind == "login":
            self.version, self.token = int(words[0]), words[1]

    async def check(self, url: str) -> int:
        """Open the store as it was left, and see that all of it is there; return the newest login."""
        async with Store(DatabasePool(url), secret_keys=SECRET_KEY) as store:
            names = {key.name for key in await store.list_keys()}
            assert names >= set(self.keys), "a key was acknowledged and is gone"
            in_doubt = names - set(self.keys)
            assert len(in_doubt) <= ROUNDS, "only the last write of each process may be unacknowledged"
            for name, text in self.keys.items():
                if name in self.revoked:
                    assert store.keys.check(text) is None, "a revocation was acknowledged and is undone"
            unrevoked = [text for name, text in self.keys.items() if name not in self.revoked]
            valid = [text for text in unrevoked if store.keys.check(text)]
            assert len(valid) >= len(unrevoked) - ROUNDS
            version = await store.save_login("zerodha", Credentials("after"))
            assert version > self.version, "a login was acknowledged and is gone"
            return version


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(url: str) -> None:
    random = Random(17)
    told = Acknowledged()
    for turn in range(ROUNDS):
        with preloaded.Popen(
            [*PROGRAM, url, str(turn)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n", "it opens clean after the kill before"
            for _ in range(random.randrange(20, 120)):
                told.note(process.stdout.readline())
            process.kill()
            for line in process.stdout:  # what it had said before it died
                told.note(line)
    asyncio.run(told.check(url))
    print(
        f"{ROUNDS} kills: {len(told.keys)} keys, {len(told.revoked)} revoked, login {told.version}, none lost"
    )
    assert len(told.keys) > ROUNDS
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as conn:
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        conn.close()


def test_when_the_file_may_not_grow_the_error_says_so_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    told = Acknowledged()
    with database("sqlite", tmp_path) as url:
        ended = subprocess.run(
            [*PROGRAM, url, "0", str(400_000)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        for line in ended.stdout.splitlines():
            told.note(line)
        print(ended.stdout.splitlines()[-1])
        assert ended.stdout.splitlines()[-1].split("\t")[:2] == ["error", "DB_DISK_FAULT"]
        asyncio.run(told.check(url))
        assert told.keys
