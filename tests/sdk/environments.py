"""An environment of its own for each official client: their pins conflict with one another and with ours.

What a client needs stands in `requirements/BROKER.txt`. Its environment is made inside the running one, the
first time that a test or a benchmark asks for it, and again when that file or the Python has changed.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements")
#: To wait for another process that makes the same one, and to make one: together less than a test may take.
MAKE_SECONDS = 100.0


class CannotMakeError(Exception):
    """An environment cannot be made here; the text says why and, behind a colon, how it can."""


def python(broker: str) -> Path:
    """Return the interpreter that imports a broker's official client, or skips the test."""
    import pytest  # a benchmark does without it

    try:
        return environment(REQUIREMENTS / f"{broker}.txt", place())
    except CannotMakeError as error:
        pytest.skip(str(error))


def place() -> Path:
    """Return the folder of the environments."""
    return Path(sys.prefix, "clients")


def environment(requirements: Path, within: Path, seconds: float = MAKE_SECONDS) -> Path:
    """Make the environment of a list of requirements, unless it is there, and return its interpreter.

    Processes that ask for one at a time make it once. Raises `CannotMakeError` where no index of packages can
    be reached, the folder is not ours to write, or `seconds` did not suffice, and `RuntimeError` with pip's
    words where the list cannot be installed. One that was begun and not finished is made again.
    """
    folder = within / requirements.stem
    interpreter, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = f"{sys.version}\n{requirements.read_text()}"
    ends = time.monotonic() + seconds
    if _stands(stamp, wanted):
        return interpreter
    try:
        within.mkdir(exist_ok=True)
        with _locked(folder.with_suffix(".lock"), ends):
            if not _stands(stamp, wanted):
                shutil.rmtree(folder, ignore_errors=True)
                venv.create(folder)
                _install(requirements, interpreter, ends)
                stamp.write_text(wanted)
    except PermissionError as error:
        reason = f"the environment of {requirements.name} cannot be written in {within} ({error.strerror})"
        raise CannotMakeError(f"{reason}: run the tests from an environment of your own") from error
    return interpreter


def _stands(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


@contextmanager
def _locked(file: Path, ends: float) -> Iterator[None]:
    """Hold the file's lock, which ends with this process at the latest."""
    with file.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise CannotMakeError(f"another process holds {file}: wait until it has ended") from None
                time.sleep(0.05)  # a lock that can be waited for only for ever
        yield


def _install(requirements: Path, interpreter: Path, ends: float) -> None:
    """Install the list by the running environment's pip, which an environment of its own need not have."""
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "--disable-pip-version-check"]
    how = ["--quiet", "--no-compile", "--retries", "1", "--requirement", str(requirements)]
    try:
        done = subprocess.run(
            [*pip, "install", *how], capture_output=True, text=True, timeout=max(0.0, ends - time.monotonic())
        )
    except subprocess.TimeoutExpired as error:
        reason = f"{requirements.name} was not installed within {error.timeout:.0f} s"
        raise CannotMakeError(f"{reason}: run the tests again with a quicker way to PyPI") from None
    if done.returncode:
        if "Retrying (" in done.stderr or "(from versions: none)" in done.stderr:
            reason = f"no index of packages has given what {requirements.name} lists"
            raise CannotMakeError(f"{reason}: reach PyPI, or name a mirror with PIP_INDEX_URL")
        raise RuntimeError(f"{requirements.name} cannot be installed:\n{done.stderr[-2000:]}")
