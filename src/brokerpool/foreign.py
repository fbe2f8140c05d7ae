"""Text of strangers, made fit to be shown and remembered: on one line, without control characters, cut."""

from __future__ import annotations

#: Characters of a stranger's text that are remembered; what names a fault is shorter.
LONGEST = 300


def escaped(text: str) -> str:
    """Return the text with everything that is not printable written as an escape, such as `\\n` or `\\x1b`.

    Line ends would begin a line of a log that nobody of ours wrote, escape sequences steer a terminal, and
    marks of direction show something else than what is there.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text
    )


def remembered(text: str, longest: int = LONGEST) -> str:
    """Return the text escaped and cut to so many characters, the last of them a mark where it was cut."""
    shown = escaped(text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
