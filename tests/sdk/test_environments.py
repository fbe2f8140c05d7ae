"""Environments of the official clients: made once, again when a list changes, told when they cannot be."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sdk.environments import REQUIREMENTS, CannotMakeError, environment


def a_package(folder: Path, version: str) -> Path:
    """Make a wheel with one module, and return it: what pip installs without any index."""
    name = f"sample_client-{version}"
    about = f"Metadata-Version: 2.1\nName: sample-client\nVersion: {version}\n"
    wheel = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sample_client.py", f"version = {version!r}\n")
        archive.writestr(f"{name}.dist-info/METADATA", about)
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    return wheel


def version_in(python: Path) -> str:
    program = "import sample_client; print(sample_client.version)"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_it_is_made_once_by_all_that_ask_together_and_again_when_its_list_changes(tmp_path: Path) -> None:
    listed, within = tmp_path / "sample.txt", tmp_path / "clients"
    listed.write_text(f"{a_package(tmp_path, '1.0')}\n")
    with ThreadPoolExecutor(3) as several:
        [python] = set(several.map(lambda _: environment(listed, within), range(3)))
    assert version_in(python) == "1.0"
    assert Path(sys.prefix) not in python.parents

    made = (python.parents[1] / "pyvenv.cfg").stat().st_mtime_ns
    assert environment(listed, within) == python
    assert (python.parents[1] / "pyvenv.cfg").stat().st_mtime_ns == made

    listed.write_text(f"{a_package(tmp_path, '2.0')}\n")
    assert version_in(environment(listed, within)) == "2.0"


def test_one_that_was_left_half_made_is_made_again(tmp_path: Path) -> None:
    listed, within = tmp_path / "sample.txt", tmp_path / "clients"
    listed.write_text(f"{a_package(tmp_path, '1.0')}\n")
    python = environment(listed, within)
    (python.parents[1] / "installed.txt").unlink()
    shutil.rmtree(next(python.parents[1].glob("lib/python*/site-packages")))
    assert version_in(environment(listed, within)) == "1.0"


@pytest.mark.parametrize("seconds", [60.0, 0.0], ids=["no index", "no time"])
def test_where_none_can_be_made_the_reason_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    listed = tmp_path / "sample.txt"
    listed.write_text("a-client-of-nobody==1.0\n")
    with pytest.raises(CannotMakeError, match=r"sample\.txt.+: (reach PyPI|run the tests again)"):
        environment(listed, tmp_path / "clients", seconds)


def test_a_list_that_cannot_be_installed_fails_with_pips_words(tmp_path: Path) -> None:
    listed = tmp_path / "sample.txt"
    listed.write_text(f"{tmp_path / 'sample_client-1.0-py3-none-any.whl'}\n")
    with pytest.raises(RuntimeError, match=r"sample\.txt cannot be installed:(.|\n)*sample_client-1\.0"):
        environment(listed, tmp_path / "clients")


def test_every_client_is_pinned_to_one_version() -> None:
    for file in REQUIREMENTS.glob("*.txt"):
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert lines
        assert [line for line in lines if "==" not in line] == []
