"""What a run of the tests leaves behind is found, told and removed: processes, temporary files, new files.

A run gets a temporary folder and a home of its own, which every process that it starts inherits by its
environment: so what is left can be told from what other programs do on the same machine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

#: Processes that are just ending are given this long.
GRACE_SECONDS = 2.0
#: What programs that the tests run keep in a home by custom: a browser's caches, the fonts' index, the
#: Rust compiler's settings (pip tells an index its version).
_CUSTOMARY = {".cache", ".config", ".local", ".pki", ".rustup"}
#: What tools make in the tree, beside folders whose name begins with a dot.
_TOOLS = {"__pycache__", "build", "dist", "site"}


class Left(NamedTuple):
    """What a run left: what is a fault for certain, and what may be somebody's own work in the tree."""

    faults: list[str]
    new_in_tree: list[str]


class Run:
    """One run's own temporary folder and home, and the look at what is left at its end."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._before = set(_files(tree))
        self.folder = Path(tempfile.mkdtemp(prefix="brokerpool-tests-"))
        self.folder.chmod(0o711)  # PostgreSQL's user passes through
        (self.folder / "home").mkdir()
        tempfile.tempdir = str(self.folder)
        self._environ = {name: os.environ.get(name) for name in ("TMPDIR", "HOME")}
        os.environ |= {"TMPDIR": str(self.folder), "HOME": str(self.folder / "home")}

    def end(self) -> Left:
        """End and remove what is left, and tell it."""
        faults = [*self._processes(), *self._temporary()]
        self.remove()
        if self.folder.exists():
            faults.append(f"{self.folder}, which cannot be removed")
        return Left(faults, sorted(str(path) for path in set(_files(self._tree)) - self._before))

    def remove(self) -> None:
        """Remove the folder and put the environment back; again does nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)
        tempfile.tempdir = None
        for name, value in self._environ.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _processes(self) -> Iterator[str]:
        _, alive = psutil.wait_procs(list(self._started()), timeout=GRACE_SECONDS)
        for process in alive:
            with suppress(psutil.Error):
                yield f"process {process.pid} in {process.cwd()}: {' '.join(process.cmdline())[:200]}"
                process.terminate()
        for process in psutil.wait_procs(alive, timeout=GRACE_SECONDS)[1]:
            with suppress(psutil.Error):
                process.kill()

    def _started(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # gone meanwhile, or somebody else's
                ours = process.environ().get("TMPDIR") == str(self.folder)
                if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def _temporary(self) -> Iterator[str]:
        for path in sorted(self.folder.iterdir()):
            if path.name != "home" and not path.name.startswith("pytest-of-"):
                yield f"temporary file {path}"
        for path in sorted((self.folder / "home").iterdir()):
            if path.name not in _CUSTOMARY:
                yield f"file in the home folder: {path}"


def _files(tree: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(tree):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _TOOLS]
        for name in files:
            yield Path(parent, name).relative_to(tree)
