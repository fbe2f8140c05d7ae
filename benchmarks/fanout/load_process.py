"""The load generator: built on demand from `load/*.c`, and driven over its stdin and stdout."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SOURCES = Path(__file__).parent / "load"
BUILD = Path(__file__).parents[2] / "build"
FLAGS = ("-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra")


class LoadError(Exception):
    """The load generator could not be built, or gave up; the text is what it said."""


def build_load() -> Path:
    """Return the load generator, compiled unless its sources are unchanged since the last time.

    Raises LoadError when there is no C compiler or it refuses.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise LoadError("No C compiler: install gcc or clang (as `cc`), or name one in CC; the load is C.")
    digest = hashlib.sha256(" ".join((compiler, *FLAGS)).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    program = BUILD / f"fanout-load-{digest.hexdigest()[:12]}"
    if program.exists():
        return program
    BUILD.mkdir(exist_ok=True)
    command = [compiler, *FLAGS, "-o", str(program), *map(str, sorted(SOURCES.glob("*.c")))]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise LoadError(f"{compiler} refused the load generator:\n{made.stderr}")
    for stale in set(BUILD.glob("fanout-load-*")) - {program}:
        stale.unlink()
    return program


class LoadProcess:
    """One role of the load generator: takes command lines, answers in JSON lines, ends with its stdin."""

    def __init__(self, program: Path, role: str, **options: object) -> None:
        """Start the role; `options` become its command line, `api_key=` the option `--api-key`."""
        self.role = role
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._process = subprocess.Popen(
            [str(program), role, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._unread = b""
        os.set_blocking(self._stdout.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, command: str) -> None:
        """Send one command; raises LoadError when the process is gone."""
        try:
            self._stdin.write(command.encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def answer(self, timeout: float = 30.0) -> dict[str, Any]:
        """Return the next answer; raises LoadError when none comes within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                raise LoadError(f"load {self.role}: no answer within {timeout:.0f} s")
            chunk = self._stdout.read()
            if chunk == b"":
                raise self._ended()
            self._unread += chunk or b""
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, command: str, timeout: float = 30.0) -> dict[str, Any]:
        """Send one command and return its answer."""
        self.tell(command)
        return self.answer(timeout)

    def _ended(self) -> LoadError:
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip()
        return LoadError(
            f"load {self.role} ended with exit code {self._process.wait(5)}: {said or 'no reason given'}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
