"""Takes from a Python program, before it begins, what Windows does not have; its children inherit it.

This folder on PYTHONPATH is all that is needed. It rehearses a part of Windows on another system: what is
missing, and not what is different (the event loop, file locks, paths).
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import sys
from typing import NoReturn

_socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)
socket.socketpair = lambda *args, **options: _socketpair()  # Windows has one of its own making

for _module in ("fcntl", "grp", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[_module] = None  # type: ignore[assignment]

for _name in [name for name in dir(signal) if name.startswith("SIG") and "_" not in name]:
    if _name not in ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"):
        delattr(signal, _name)
for _holder, _names in (
    (signal, ("alarm", "setitimer", "pthread_sigmask", "sigwait", "pthread_kill")),
    (socket, ("AF_UNIX", "SO_REUSEPORT", "TCP_USER_TIMEOUT")),
    (
        os,
        (
            *("fork", "forkpty", "register_at_fork", "getuid", "geteuid", "getgid", "getegid", "setsid"),
            *("fchmod", "fchown", "chown", "killpg", "getpgid", "sysconf", "uname", "sched_setaffinity"),
            *("sched_getaffinity", "statvfs", "posix_spawn", "mkfifo"),
        ),
    ),
):
    for _name in _names:
        if hasattr(_holder, _name):
            delattr(_holder, _name)

if hasattr(os, "process_cpu_count"):  # Python 3.13; where there is no affinity, it is this
    os.process_cpu_count = os.cpu_count


def _missing(self: object, *args: object, **options: object) -> NoReturn:
    raise NotImplementedError


for _name in ("add_signal_handler", "remove_signal_handler", "create_unix_server", "create_unix_connection"):
    setattr(asyncio.SelectorEventLoop, _name, _missing)
