"""What holds for all tests: which of them need the machine for themselves, and no hidden deadlines."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

# How long an example takes depends on who else is at work; what has to be quick is measured where it matters.
hypothesis.settings.register_profile("brokerpool", deadline=None)
hypothesis.settings.load_profile("brokerpool")

#: Each party is a process of its own there, and the figures that are printed are judged.
ALONE = tuple(Path(__file__).parent / folder for folder in ("browser", "faults", "sdk"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in ALONE):
            item.add_marker(pytest.mark.alone)
