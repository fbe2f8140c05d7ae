"""The address of a database: what may be written in a URL, and how it is shown."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# SQLAlchemy's own pattern up to the host, and then several of them, as libpq takes them.
_SEVERAL_HOSTS = re.compile(r"(\w[\w+]*://(?:[^:/@]*(?::[^@]*)?@)?)([^/?@]*,[^/?@]*)((?:[/?].*)?)", re.DOTALL)


def parse(url: str) -> URL:
    """Return the parts of a URL of SQLite or PostgreSQL, of one host or several (`h1:5432,h2:5432`).

    A file is named in full, from the working directory of this moment, so that whoever reads its name in an
    error knows which one is meant.

    Raises ValueError for any other, which does not quote it.
    """
    several = _SEVERAL_HOSTS.fullmatch(url)
    try:
        parsed = make_url("".join(several.group(1, 3)) if several else url)
    except (ArgumentError, ValueError):
        raise ValueError("the database URL cannot be read; it is like postgresql://user:pw@host/db") from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise ValueError(f"the database is sqlite or postgresql, not {backend}")
    if backend == "sqlite":
        return parsed.set(database=_absolute(parsed.database))
    if several:
        parsed = parsed.update_query_dict({"host": several.group(2).split(",")})
    return parsed


def _absolute(file: str | None) -> str | None:
    if not file or file == ":memory:" or file.startswith("file:"):
        return file
    return str(Path(file).absolute())


def hosts(url: URL) -> tuple[str, ...]:
    """Return the servers, each as host:port, in the order in which they are tried."""
    listed = url.query.get("host", ())
    several = (listed,) if isinstance(listed, str) else listed
    port = url.port or 5432
    return tuple(h if ":" in h else f"{h}:{port}" for h in several or (url.host or "localhost",))


def shown(url: str) -> str:
    """Return the URL as a log may have it: without user, password and parameters."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        return f"sqlite:///{parsed.database}" if parsed.database else "sqlite://"
    return f"postgresql://{','.join(hosts(parsed))}/{parsed.database}"
