"""What a database's error means, as one of our codes; no text of ours quotes a statement or its values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from brokerpool.errors import BrokerpoolError, ErrorCode, StoreError

_SQLITE_ERROR = 1

# Primary result codes of SQLite (sqlite.org/rescode.html).
_SQLITE = {
    5: ErrorCode.DB_BUSY,
    6: ErrorCode.DB_BUSY,
    8: ErrorCode.DB_READ_ONLY,
    10: ErrorCode.DB_DISK_FAULT,
    11: ErrorCode.DB_DAMAGED,
    13: ErrorCode.DB_FULL,
    14: ErrorCode.DB_UNREACHABLE,
    26: ErrorCode.DB_DAMAGED,
}

# SQLSTATEs of PostgreSQL (its manual, appendix A), the longest beginning first.
_POSTGRESQL = {
    "25006": ErrorCode.DB_READ_ONLY,
    "42501": ErrorCode.DB_FORBIDDEN,
    "42P01": ErrorCode.DB_SCHEMA_MISSING,
    "42703": ErrorCode.DB_SCHEMA_MISSING,
    "3F000": ErrorCode.DB_SCHEMA_MISSING,
    "53100": ErrorCode.DB_FULL,
    "55P03": ErrorCode.DB_BUSY,
    "57014": ErrorCode.DB_BUSY,
    "40001": ErrorCode.DB_BUSY,
    "40P01": ErrorCode.DB_BUSY,
    "58030": ErrorCode.DB_DISK_FAULT,
    "XX001": ErrorCode.DB_DAMAGED,
    "XX002": ErrorCode.DB_DAMAGED,
    "08": ErrorCode.DB_UNREACHABLE,
    "28": ErrorCode.DB_UNREACHABLE,
    "3D": ErrorCode.DB_UNREACHABLE,
    "53": ErrorCode.DB_UNREACHABLE,
    "57P": ErrorCode.DB_UNREACHABLE,
}


class MovedError(sqlite3.OperationalError):
    """The file of a SQLite connection is not the one that its name leads to any more."""


def meaning(error: Exception) -> ErrorCode:
    """Return the code for an error of the database, of its driver or of the pool."""
    error = _behind(error)
    if isinstance(error, BrokerpoolError):
        return error.code
    if isinstance(error, (OSError, TimeoutError, PoolTimeoutError)):
        return ErrorCode.DB_UNREACHABLE
    if not isinstance(error, DBAPIError):
        return ErrorCode.DB_FAILED
    said = driver_meaning(error.orig)
    if said is not None:
        return said
    gone = error.connection_invalidated
    if getattr(error.orig, "sqlstate", None) is None:  # psycopg has none for a server that hung up
        gone = gone or type(error.orig).__name__ in {"OperationalError", "InterfaceError"}
    return ErrorCode.DB_UNREACHABLE if gone else ErrorCode.DB_FAILED


def driver_meaning(error: BaseException | None) -> ErrorCode | None:
    """Return the code for what a driver raised; None where it says nothing that has one."""
    if isinstance(error, MovedError):
        return ErrorCode.DB_MOVED
    number = getattr(error, "sqlite_errorcode", None)
    if number is not None:
        missing = number == _SQLITE_ERROR and str(error).startswith(("no such table", "no such column"))
        return ErrorCode.DB_SCHEMA_MISSING if missing else _SQLITE.get(number & 0xFF, ErrorCode.DB_FAILED)
    state = getattr(error, "sqlstate", None) or ""
    return next((code for start, code in _POSTGRESQL.items() if state.startswith(start)), None)


def code_of(error: Exception) -> str:
    """Return the name of an error's code, for logs and statistics."""
    return meaning(error).name


def is_outage(error: Exception) -> bool:
    """Tell whether the same statement may succeed later; False where its own content is at fault."""
    return meaning(error) is not ErrorCode.DB_FAILED


@contextmanager
def told(database: str, doing: str) -> Iterator[None]:
    """Raise StoreError for the database's errors inside; the text says what was being done, and where."""
    try:
        yield
    except (SQLAlchemyError, OSError, BrokerpoolError) as error:
        found = _behind(error)
        if isinstance(found, BrokerpoolError):
            raise
        # `from None`: the text of the original quotes the statement, and could quote its values.
        raise StoreError(f"{doing} in {database}: {_said(found)}.", code=meaning(found)) from None


def _behind(error: Exception) -> Exception:
    # To the pool a database that it cannot open is unreachable, whatever the reason: here it matters.
    if not (isinstance(error, BrokerpoolError) and error.code is ErrorCode.DB_UNREACHABLE):
        return error
    reason = error.__cause__ or error.__context__
    return reason if isinstance(reason, DBAPIError) else error


def _said(error: Exception) -> str:
    if not isinstance(error, DBAPIError):
        return "no connection in time" if isinstance(error, TimeoutError) else type(error).__name__
    first = str(error.orig).strip().partition("\n")[0].rstrip(".")
    return first or type(error.orig).__name__
