"""Processes of ours without the imports that each would begin with: forked from one that has made them.

`Popen` and `run` are `subprocess`'s. What they start as Python with `-m` and a module, or with a script, is a
fork of a loader (`tests.loader`), of which each process that runs tests has one: with the same streams,
arguments, folder, environment, signals and exit codes, and a child of the process that started it. Where a
fork would not be the same (other options, an environment that an interpreter reads as it starts, a system
other than Linux) they start a fresh process, as `subprocess` does, which is what a test takes that is about
starts, imports, memory or the installed command. Resource limits and umask are those of the loader's start.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.loader import MOST_BYTES, Start

ROOT = Path(__file__).parent.parent
#: Options that a fork does justice to; the streams are made by `subprocess`.
_OPTIONS = {"cwd", "env", "start_new_session", "stdin", "stdout", "stderr", "text", "bufsize"}
#: What an interpreter and its libraries read of the environment once, as they start.
_READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "SSL_", "OPENSSL_")
#: The operation of prctl(2) by which orphans become children of this process, not of the system's first.
_SET_CHILD_SUBREAPER = 36


def _read_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_READ_AT_START)}


_AS_THE_LOADER_STARTS = _read_at_start(os.environ)
_running = ExitStack()
_one_at_a_time = threading.Lock()


class Popen(subprocess.Popen[str]):
    """`subprocess.Popen`, for which the loader forks where that is the same."""

    def __init__(self, args: Sequence[str | Path], **options: Any) -> None:
        self._fork = _start(list(map(str, args)), options)
        super().__init__(args, **options)

    def _execute_child(self, *how: Any) -> None:
        if self._fork is None:
            super()._execute_child(*how)  # type: ignore[misc]  # typeshed has it not
            return
        streams = how[10:16]
        child_side = streams[0], streams[3], streams[5]
        with _one_at_a_time:
            self.pid = _forked(self._fork, [own if fd == -1 else fd for own, fd in enumerate(child_side)])
        self._child_created = True
        self._close_pipe_fds(*streams)  # type: ignore[attr-defined]


def run(
    args: Sequence[str | Path], *, timeout: float | None = None, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` of what the loader can fork, without its `input`."""
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(args, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def shut_down() -> None:
    """End the loader, if one runs; what it forked goes on."""
    _loader.cache_clear()
    _running.close()


def _start(args: list[str], options: Mapping[str, Any]) -> Start | None:
    """Return what is to be forked, None where that is not the same as a start."""
    environ = dict(os.environ if options.get("env") is None else options["env"])
    folder = Path(options.get("cwd") or ".").absolute()
    if not (
        sys.platform == "linux"
        and options.keys() <= _OPTIONS
        and folder.is_dir()  # a start tells it by an exception
        and _read_at_start(environ) == _AS_THE_LOADER_STARTS
    ):
        return None
    match args:
        case [sys.executable, "-m", module, *arguments]:
            program = {"module": module}
        case [sys.executable, script, *arguments] if Path(script).is_absolute():
            program = {"script": script}
        case _:
            return None
    return Start(
        **program,
        arguments=arguments,
        folder=str(folder),
        environ=environ,
        own_session=bool(options.get("start_new_session")),
    )


def _forked(start: Start, streams: Sequence[int]) -> int:
    """Have the loader fork, and return the number of the process, whose parent this one is."""
    with _adopting():
        loader = _loader()
        socket.send_fds(loader, [start.packed()], streams)
        told = loader.recv(MOST_BYTES)
    if not told:
        raise RuntimeError("the loader of preloaded processes has ended: run `python -m tests.loader`")
    return int(told)


@contextmanager
def _adopting() -> Iterator[None]:
    """What the loader's fork forks, and leaves by ending, becomes this process's own child."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, ctypes.get_errno()
    try:
        yield
    finally:
        prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@functools.cache
def _loader() -> socket.socket:
    """Start the loader, and return the socket by which it is asked; it ends when this is closed."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.loader", str(its.fileno())],
            cwd=ROOT,
            env={n: v for n, v in os.environ.items() if not n.startswith(_READ_AT_START)}
            | _AS_THE_LOADER_STARTS,
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    _running.callback(process.wait, 10)
    return _running.enter_context(ours)
