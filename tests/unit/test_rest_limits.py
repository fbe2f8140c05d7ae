"""The rates of a broker's HTTP API, as its limits.toml says them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.rest import RestLimits


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "half_hourly"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    figures = {"second": 50, "minute": 500, "30_minutes": 2000, "hour": 3000, "day": 9000}
    lines = [f"quote_requests_per_{span} = {{ value = {value} }}" for span, value in figures.items()]
    (folder / "limits.toml").write_text("\n".join(["[http]", *lines, "ltp_instruments = { value = 500 }"]))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "half_hourly"
    sys.modules.pop("half_hourly", None)


def test_windows_of_every_span_hold_together(package: str) -> None:
    limits = RestLimits.load(package)
    assert limits.batch == {"ltp": 500}
    assert limits.windows["quote"] == (
        RateWindow(50, 1.0),
        RateWindow(500, 60.0),
        RateWindow(2000, 1800.0),
        RateWindow(3000, 3600.0),
        RateWindow(9000, 86400.0),
    )
