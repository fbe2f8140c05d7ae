"""The API reference: every public name has its place and an example there, and says what was promised."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from griffe import Alias, GriffeLoader, Object, load_extensions

import brokerpool
from brokerpool import simulator, sync, testing

ROOT = Path(__file__).parents[2]
PUBLIC = [
    f"{package.__name__}.{name}"
    for package in (brokerpool, sync, simulator, testing)
    for name in package.__all__
]
PAGES = {page: page.read_text("utf-8") for page in sorted(ROOT.glob("docs/reference/api/*.md"))}
#: Every `::: name` of the pages.
PLACES = [
    (name, page)
    for page, text in PAGES.items()
    for name in re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)
]


def coroutines() -> Iterator[tuple[str, type | None, Callable[..., object]]]:
    """Each public coroutine function, with the class whose method it is."""
    for package in (brokerpool, simulator, testing):
        for name in package.__all__:
            public = getattr(package, name)
            if inspect.iscoroutinefunction(public):
                yield name, None, public
            elif inspect.isclass(public):
                for member, method in vars(public).items():
                    if not member.startswith("_") and inspect.iscoroutinefunction(method):
                        yield f"{name}.{member}", public, method


def test_each_public_name_has_one_place_in_the_reference_and_nothing_else_has_one() -> None:
    assert Counter(name for name, _ in PLACES) == Counter(PUBLIC)


@pytest.mark.parametrize(("name", "page"), PLACES, ids=lambda given: getattr(given, "stem", given))
def test_each_public_name_is_used_in_an_example_of_its_page(name: str, page: Path) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL))
    used = name.removeprefix("brokerpool.").removeprefix("simulator.").removeprefix("testing.")
    assert re.search(rf"\b{re.escape(used)}\b", re.sub(r"^(from|import) .*$", "", code, flags=re.MULTILINE))


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_has_a_promise(name: str) -> None:
    package, _, own = name.rpartition(".")
    public = getattr({"brokerpool": brokerpool}.get(package) or getattr(brokerpool, package[11:]), own)
    promise = (public.__doc__ or "").partition("\n\n")[0]
    assert promise.endswith((".", ";"))
    if inspect.isclass(public):
        assert public.__doc__ is not next((base.__doc__ for base in public.__mro__[1:]), None), "inherited"


def test_the_reference_tells_what_a_cancelled_caller_leaves_of_each_coroutine() -> None:
    """In the docstring, in that of the class, or in a paragraph of a page that names it."""
    paragraphs = [paragraph for text in PAGES.values() for paragraph in text.split("\n\n")]
    silent = []
    for name, kind, function in coroutines():
        named = f"`{name.rpartition('.')[2]}`"
        texts = [function.__doc__, kind and kind.__doc__, *(text for text in paragraphs if named in text)]
        if not any(text and "cancel" in text.lower() for text in texts):
            silent.append(name)
    assert silent == []
    assert len(list(coroutines())) > 20


@pytest.fixture(scope="module")
def package() -> Object | Alias:
    """The package as the reference reads it."""
    extensions = load_extensions(str(ROOT / "docs" / "field_comments.py"))
    return GriffeLoader(extensions=extensions, search_paths=[ROOT / "src"]).load("brokerpool")


def test_a_default_is_shown_and_what_the_constructor_works_out_is_not(package: Object | Alias) -> None:
    assert str(package["feed.gap_snapshots.Filler.batch"].value) == "500"
    assert package["feed.pool.WebSocketPool.journal"].value is None


def test_the_comment_above_a_field_is_its_text_in_the_reference(package: Object | Alias) -> None:
    texts = {
        name: getattr(package[name].docstring, "value", None)
        for name in ("ticks.DepthLevel.price", "feed.gaps.Gap.to_ms", "feed.gaps.Gap.instrument")
    }
    assert texts == {
        "ticks.DepthLevel.price": "In rupees.",
        "feed.gaps.Gap.to_ms": (
            "When the first tick after it was received, or nobody wanted the symbol any more;"
            " None while it is open."
        ),
        "feed.gaps.Gap.instrument": None,
    }
