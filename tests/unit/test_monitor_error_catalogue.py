"""The error catalogue and the source agree: nothing is raised without a code, and no code is left unused."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import brokerpool
from brokerpool.errors import ErrorCode

SOURCE = Path(brokerpool.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(SOURCE)): ast.parse(path.read_text("utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    }


@pytest.fixture(scope="module", autouse=True)
def _let_go() -> Iterator[None]:
    """Half a million nodes are not to stay for as long as the other tests run."""
    yield
    ours.cache_clear()
    trees.cache_clear()


def everywhere() -> Iterator[tuple[str, ast.AST]]:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            yield path, node


@cache
def ours() -> dict[str, ast.ClassDef]:
    """BrokerpoolError and every class under it, wherever it is defined."""
    classes = {node.name: node for _, node in everywhere() if isinstance(node, ast.ClassDef)}

    def descends(name: str) -> bool:
        if name == "BrokerpoolError":
            return True
        bases = classes[name].bases if name in classes else []
        return any(isinstance(base, ast.Name) and descends(base.id) for base in bases)

    return {name: node for name, node in classes.items() if descends(name)}


def own_code(name: str) -> str | None:
    """The code that a class brings with it, itself or by its nearest base."""
    node = ours()[name]
    for line in node.body:
        if isinstance(line, ast.Assign) and line.targets[0].id == "code":  # type: ignore[attr-defined]
            assert isinstance(line.value, ast.Attribute)
            return line.value.attr
    bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in ours()]
    return next((code for base in bases if (code := own_code(base))), None)


def made() -> Iterator[tuple[str, str, ast.Call]]:
    """Each place at which an error of ours is made, raised or not."""
    for path, node in everywhere():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ours():
            yield f"{path}:{node.lineno}", node.func.id, node


def test_no_error_of_ours_is_made_without_a_code_of_the_catalogue() -> None:
    places = list(made())
    assert len(places) > 20
    for place, name, call in places:
        given = any(keyword.arg == "code" for keyword in call.keywords)
        assert given or own_code(name), f"{place} makes {name} without a code"


def test_no_code_of_the_catalogue_is_unused() -> None:
    used = {own_code(name) for _, name, _ in made()}
    for path, node in everywhere():
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ErrorCode" and path != "errors.py":
            used.add(node.attr)
    assert {code.name for code in ErrorCode} - used == set()
