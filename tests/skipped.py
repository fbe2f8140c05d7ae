"""What a run skipped, told once at its end: what, why, and how to get it.

A skip's reason says what is missing and, behind a colon, how to get it. `make test` runs in parts, which hand
their skips on in a file so that the last part tells all of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Skips = Counter[tuple[str, str]]


def of(reports: Iterable[Any]) -> Skips:
    """Count pytest's reports of skipped tests by file and reason."""
    skips: Skips = Counter()
    for report in reports:
        _, _, reason = report.longrepr
        skips[report.nodeid.partition("::")[0], reason.removeprefix("Skipped: ")] += 1
    return skips


def handed_on(file: Path, skips: Skips) -> Skips:
    """Add the skips to those that earlier parts left in the file, and return all."""
    if file.exists():
        skips = skips + Counter({(where, why): n for where, why, n in json.loads(file.read_text("utf-8"))})
    file.write_text(json.dumps([(*of, n) for of, n in skips.items()]), "utf-8")
    return skips


def told(skips: Skips) -> Iterator[str]:
    """Give the lines of the summary, a reason at a time."""
    for reason in sorted({reason for _, reason in skips}):
        why, colon, how = reason.partition(": ")
        yield f"why:    {why}"
        yield f"to get: {how if colon else '(the reason does not say how)'}"
        for (where, of_reason), count in sorted(skips.items()):
            if of_reason == reason:
                yield f"  {count:4} of {where}"
