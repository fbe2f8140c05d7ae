"""A whole list of a large broker is read by every adapter in little time, turns and memory.

`make brokers` takes one of 150,000 rows, as large as there is; a third of that has the same bounds a row.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.every_broker import BROKERS

ROWS = int(os.environ.get("BROKERPOOL_TEST_LIST_ROWS", "50000"))
#: What 150,000 rows may take, of which these are so large a part.
SECONDS, MIB, PART = 3.0, 150, ROWS / 150_000
#: Turns that may be long: in a few of them a dictionary grows, all at once.
GROWING = 16
USUAL_MS, LONGEST_MS = 2.0, 60.0


def read(settings: dict[str, object]) -> dict[str, Any]:
    """Return what it cost a process of its own to read the list of an account."""
    command = [sys.executable, "-m", "tests.list_reader"]
    done = subprocess.run(command, input=json.dumps(settings), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    cost: dict[str, Any] = json.loads(done.stdout)
    return cost


@pytest.mark.parametrize("broker", BROKERS)
def test_all_rows_take_20_us_of_cpu_each_in_short_turns_and_1_kb_beyond_what_is_kept(
    tmp_path: Path, broker: str
) -> None:
    with processes.simulator(tmp_path, broker=broker, symbols=ROWS, rate=0) as running:
        settings = {name: given for name, given in running.said.items() if name != "control_url"}
        for _ in range(3):  # what others do on the machine only ever makes a turn longer
            cost = read({"name": broker, **settings})
            usual, longest = cost["turns"][-GROWING] * 1000, cost["turns"][-1] * 1000
            if usual <= USUAL_MS and longest <= LONGEST_MS:
                break
        running.process.kill()  # what it holds takes it seconds to let go of
    print(
        f"{cost['rows']} rows: {cost['seconds']:.2f} s of CPU, turns of {usual:.1f} ms at most, of"
        f" {longest:.0f} ms where dictionaries grow; {cost['kept']:.0f} MiB kept, {cost['peak']:.0f} at the"
        " peak"
    )
    assert cost["rows"] == ROWS
    assert cost["seconds"] <= SECONDS * PART
    assert usual <= USUAL_MS
    assert longest <= LONGEST_MS
    assert cost["peak"] - cost["kept"] <= MIB * PART
