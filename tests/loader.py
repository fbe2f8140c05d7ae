"""The process that has imported the product and forks itself for others: see `tests.preloaded`.

It has one thread and no event loop, and ends with the process that started it, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

MOST_BYTES = 1 << 20
#: What the gateway and the simulator import beside their own modules, once they run.
_LATE = (
    "aiosqlite",
    "alembic.command",
    "alembic.ddl.postgresql",
    "psycopg",
    "pydantic.v1",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
)


@dataclass(frozen=True)
class Start:
    """What a fork is to become: Python with `-m module`, or with a script by its whole path."""

    arguments: Sequence[str]
    folder: str
    environ: dict[str, str]
    own_session: bool
    module: str = ""
    script: str = ""

    def packed(self) -> bytes:
        """Return it as it is sent."""
        return json.dumps(asdict(self)).encode()


def main() -> None:
    """Serve forks; only a fork comes to the second line."""
    start = forked(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [start.script or start.module, *start.arguments]
    try:
        if start.module:
            runpy.run_module(start.module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(start.script, run_name="__main__")
    except SystemExit as ended:
        _end(ended.code)
    _end(None)


def _end(code: object) -> NoReturn:
    """End as any Python does, but for the 0.1 s in which it takes all modules down again."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for its threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit((code or 0) & 0xFF)


def forked(channel: socket.socket) -> Start:
    """Fork for whatever is asked; returns in the forks, and ends the process when nobody can ask any more."""
    # Ctrl-C is for the tests, and for what they started unless that is in the background of a shell.
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _modules():
        importlib.import_module(name)
    threads = len([*Path("/proc/self/task").iterdir()])
    assert threads == 1, f"something imported has started threads, of which a fork has none: {threads}"
    gc.collect()
    gc.freeze()  # so that a fork's collections do not touch, and so copy, what all have
    while True:
        asked, streams, _, _ = socket.recv_fds(channel, MOST_BYTES, 3)
        if not asked:
            sys.exit()
        loaders_end, forks_end = socket.socketpair()
        if between := os.fork():
            for fd in (forks_end.detach(), *streams):
                os.close(fd)
            os.waitpid(between, 0)  # only now has the fork's fork the parent that it is to have
            channel.send(loaders_end.recv(32))
            loaders_end.close()
            continue
        if os.fork():
            os._exit(0)
        loaders_end.close()
        forks_end.send(str(os.getpid()).encode())
        forks_end.recv(1)  # ends with the loader's end
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        for fd in (forks_end.detach(), channel.detach(), *streams):
            os.close(fd)
        start = Start(**json.loads(asked))
        signal.signal(signal.SIGINT, interrupted)
        _become(start)
        return start


def _modules() -> Iterator[str]:
    import brokerpool

    for module in pkgutil.walk_packages(brokerpool.__path__, "brokerpool."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            yield module.name
    yield from _LATE


def _become(start: Start) -> None:
    """Make of a fork what a fresh interpreter would be."""
    if start.own_session:
        os.setsid()
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environ)
    time.tzset()
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(start.script).parent) if start.script else start.folder
    sys.stdin = sys.__stdin__ = _stream(0, "r", sys.stdin)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", sys.stdout)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", sys.stderr)  # type: ignore[misc]


def _stream(fd: int, mode: str, before: object) -> io.TextIOWrapper:
    """Return the text stream that Python makes of a descriptor, which depends on what is behind it."""
    assert isinstance(before, io.TextIOWrapper)
    unbuffered = before.write_through
    raw = open(fd, f"{mode}b", 0 if unbuffered and mode == "w" else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        raw,
        encoding=before.encoding,
        errors=before.errors,
        newline="\n" if mode == "w" else None,
        line_buffering=not unbuffered and (fd == 2 or os.isatty(fd)),
        write_through=unbuffered,
    )


if __name__ == "__main__":
    main()
