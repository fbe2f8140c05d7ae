"""Promises of the error catalogue: each code is complete, and everything raised carries one."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import brokerpool
from brokerpool import errors
from brokerpool.errors import BrokerpoolError, ErrorCode, SettingsError

SOURCE = Path(brokerpool.__file__).parent


def classes() -> list[type[BrokerpoolError]]:
    return [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BrokerpoolError)
    ]


def raised() -> Iterator[tuple[str, ast.Call]]:
    """Each `raise SomethingOfOurs(...)` in the source, with its place."""
    ours = {kind.__name__ for kind in classes()}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                call = node.exc
                if isinstance(call.func, ast.Name) and call.func.id in ours:
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", call


def run(program: str) -> str:
    """Return what it prints in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_catalogue_has_an_entry_for_each_code_in_their_order_and_no_other() -> None:
    catalogue = tomllib.loads((SOURCE / "error_catalogue.toml").read_text("utf-8"))
    assert list(catalogue) == [code.name for code in ErrorCode]
    assert {tuple(entry) for entry in catalogue.values()} == {("cause", "response", "action")}


def test_an_import_does_not_read_the_catalogue() -> None:
    told = "print(error_codes._catalogue.cache_info().currsize)"
    assert run(f"from brokerpool import BrokerpoolError, error_codes; {told}") == "0\n"


@pytest.mark.skipif(os.name != "posix", reason="the limit on open files is POSIX's")
def test_an_error_is_told_when_no_file_can_be_opened_any_more() -> None:
    text = run(
        "import resource\n"
        "from brokerpool import PoolClosedError\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "print(PoolClosedError('the pool was closed.'))"
    )
    assert text.startswith("POOL_CLOSED: the pool was closed. The catalogue of errors cannot be read now")
    assert "brokerpool errors POOL_CLOSED" in text


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_each_code_has_a_cause_a_next_step_and_what_was_done_about_it(code: ErrorCode) -> None:
    assert re.fullmatch(r"[A-Z][A-Z_]+", code.name)
    for sentence in (code.cause, code.action, code.response):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


def test_each_raise_in_the_source_carries_a_code_of_the_catalogue() -> None:
    for place, call in raised():
        kind = getattr(errors, call.func.id)  # type: ignore[attr-defined]  # raised() yields names only
        given = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
        assert given or hasattr(kind, "code"), f"{place} raises {kind.__name__} without a code"
        for value in given:
            if isinstance(value, ast.Attribute):
                assert value.attr in ErrorCode.__members__, f"{place}: no code {value.attr}"


def test_each_error_code_used_in_the_source_exists() -> None:
    for path in SOURCE.rglob("*.py"):
        for name in re.findall(r"ErrorCode\.([A-Z_]+)\b", path.read_text("utf-8")):
            assert name in ErrorCode.__members__, f"{path.name}: no code {name}"


def test_the_text_of_an_error_has_the_code_what_happened_and_the_next_step() -> None:
    text = str(SettingsError("WEBSOCKET_PORT is missing."))
    assert text == f"INVALID_SETTINGS: WEBSOCKET_PORT is missing. {ErrorCode.INVALID_SETTINGS.action}"
