"""PgBouncer in front of the tests' PostgreSQL: few server sessions, another one for each transaction."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.database import PASSWORD, PostgresServer

START_SECONDS = 20

# Debian puts it where an ordinary user's PATH does not lead.
_PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")

needs_pgbouncer = pytest.mark.skipif(
    _PROGRAM is None, reason="needs PgBouncer: apt-get update && apt-get install pgbouncer"
)


@contextmanager
def pgbouncer(postgres: PostgresServer, database: str, *, sessions: int = 3) -> Iterator[str]:
    """Give the URL of a database behind transaction pooling with so many sessions, until the block ends."""
    assert _PROGRAM is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="brokerpool-pgbouncer-"))
    folder.chmod(0o755)
    users, settings = folder / "users", folder / "settings.ini"
    users.write_text(f'"trader" "{PASSWORD}"\n')
    settings.write_text(
        f"""\
[databases]
{database} = host=127.0.0.1 port={postgres.port} dbname={database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = transaction
default_pool_size = {sessions}
"""
    )
    # It refuses to run as root.
    process = subprocess.Popen(
        [_PROGRAM, "-q", settings],
        user="nobody" if os.geteuid() == 0 else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "PgBouncer ended"
                assert time.monotonic() < end, "PgBouncer does not listen"
                time.sleep(0.02)  # until it listens
        yield f"postgresql://trader:{PASSWORD}@127.0.0.1:{port}/{database}"
    finally:
        process.send_signal(signal.SIGTERM)  # at once, with whoever is connected
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        shutil.rmtree(folder)
