"""Text of strangers, made fit to be shown and remembered: on one line, without control characters, cut."""

from __future__ import annotations

#: Characters of a stranger's text that are remembered; what names a fault is shorter.
LONGEST = 300

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str) -> str:
    """Return the text with everything that is not printable written as an escape, such as `\\n` or `\\x1b`.

    Line ends would begin a line of a log that nobody of ours wrote, escape sequences steer a terminal, and
    marks of direction show something else than what is there.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def remembered(text: str, longest: int = LONGEST) -> str:
    """Return the text escaped and cut to so many characters, the last of them a mark where it was cut."""
    shown = escaped(text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _escape(c: str) -> str:
    # Not with Python's codec of that name, which is a file: none can be opened when descriptors are lacking.
    if c in _NAMED:
        return _NAMED[c]
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
