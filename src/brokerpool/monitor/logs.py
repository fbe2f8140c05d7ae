"""The two forms of the log: a line for people that ends in key=value, and one JSON object a line.

A stranger's text, a close reason or a broker's notice, begins no line of its own and steers no terminal.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from brokerpool.untrusted_text import escaped

#: What a call may give besides its text, as `extra={...}`: names and numbers of ours, never anything of a
#: request or a broker's answer.
FIELDS = ("connection", "state", "client", "close_code")


def configure(level: str, form: str) -> None:
    """Write the process's log to stderr from this level on; `form` is "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])


class TextFormatter(logging.Formatter):
    """A time, a level, who says it, the text, and the fields as key=value; tracebacks are indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the base class's name)
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        return escaped(super().formatMessage(record) + fields)

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802
        return "\n".join(f"    {escaped(line)}" for line in super().formatException(ei).split("\n"))


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, the fields, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        line = json.dumps(entry, ensure_ascii=False)
        return line if line.isprintable() else json.dumps(entry)


def _fields(record: logging.LogRecord) -> dict[str, str | int]:
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
