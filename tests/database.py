"""A real PostgreSQL server that tests start, stop, freeze and thaw."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import psutil
import psycopg

from tests.postgres_programs import Home, home

PASSWORD = "pw-that-must-not-be-shown"
START_SECONDS = 20

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # A caller that is cancelled in the middle of a login leaves the server waiting for the rest of it, and a
    # database that is dropped then waits as well: a minute with PostgreSQL's own figure.
    "authentication_timeout": "5",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "fsync": "off",
    "logging_collector": "off",
}


class PostgresServer:
    """One server on a free port of 127.0.0.1, with its data in a folder of its own."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._data = home.folder / "data"
        self._log = home.folder / "log"
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        secret = home.folder / "secret"
        secret.write_text(PASSWORD)
        if home.user is not None:
            shutil.chown(secret, home.user)
        arguments = ["--auth=scram-sha-256", f"--pwfile={secret}", "-U", "trader", "--no-sync", "-E", "UTF8"]
        arguments += [
            "-c",
            "scram_iterations=1",
        ]  # the password is no secret, and tests connect thousands of times
        subprocess.run(
            [home.programs / "initdb", "-D", self._data, *arguments],
            check=True,
            user=home.user,
            cwd="/",
            stdout=subprocess.DEVNULL,
        )

    @property
    def url(self) -> str:
        """The URL with the password, as a user writes it."""
        return self.url_of("trader", PASSWORD)

    def url_of(self, user: str, password: str, database: str = "postgres") -> str:
        """Return the URL of another user or database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url_of("trader", PASSWORD, name)

    def start(self) -> None:
        """Start the server and return once it accepts connections."""
        options = [
            word
            for name, value in {**_OPTIONS, "port": self.port}.items()
            for word in ("-c", f"{name}={value}")
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._home.programs / "postgres", "-D", self._data, *options],
                user=self._home.user,
                cwd="/",
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end, self._log.read_text()
                time.sleep(0.02)  # until the server answers
            else:
                return

    def stop(self) -> None:
        """End the server and every connection to it; does nothing when it does not run."""
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def freeze(self) -> None:
        """Stop the server's processes as a machine that hangs: sockets stay open and nothing answers."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let frozen processes go on."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # a backend whose client has gone
                process.send_signal(signal.SIGCONT)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement outside of any pool and return its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def sessions(self, user: str = "trader") -> int:
        """Return how many other connections a user has, as the server counts them."""
        where = f"usename = '{user}' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        return int(str(self.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {where}")[0][0]))

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        # The postmaster first, that it starts no more of them.
        postmaster = psutil.Process(self._process.pid)
        return [postmaster, *postmaster.children(recursive=True)]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server until the block ends, and remove its data."""
    with home() as place:
        server = PostgresServer(place)
        try:
            server.start()
            yield server
        finally:
            server.stop()
