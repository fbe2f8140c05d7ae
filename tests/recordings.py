"""What the makers of official clients recorded of their brokers: real packets and lists, not ours to keep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOLDER = Path(os.environ.get("BROKER_RECORDINGS", Path(__file__).parents[2] / "shared/fixtures/from-fetch"))


def recorded(name: str) -> Path:
    """Return a recorded file or folder of them; skips the test on a machine that has none."""
    path = _FOLDER / name
    if not path.exists():
        pytest.skip(
            f"recordings of the brokers are not kept here, and {_FOLDER} has not all: name a folder with"
            " BROKER_RECORDINGS that has the test data of zerodha/gokiteconnect and zerodha/kiteconnectjs in"
            " folders gokiteconnect and kiteconnectjs, and what kiteconnect makes of it in kite_expected.json"
        )
    return path
