"""Promises of the documentation: generated pages are up to date, links lead somewhere, code in it is code,
and it is a site that is whole by itself.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = sorted(ROOT.glob("docs/**/*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *DOCS])


def test_the_generated_pages_are_up_to_date() -> None:
    for path, text in runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]().items():
        assert path.read_text("utf-8") == text, f"{path.relative_to(ROOT)} is old: run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_python_block_compiles(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        compile(block, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_test_that_a_page_names_is_there(page: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text("utf-8")):
        text = (ROOT / file).read_text("utf-8")
        assert re.search(rf"^((async )?def {name}\(|{name} = )", text, re.MULTILINE), name


def test_the_site_builds_without_a_warning_and_needs_no_other_host(tmp_path: Path) -> None:
    # A process of its own: what the site's generator warns of is not ours to turn into errors.
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    pages = {
        file.relative_to(tmp_path).as_posix(): file.read_text("utf-8") for file in tmp_path.rglob("*.html")
    }
    assert {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in DOCS} <= set(pages)
    for name, page in pages.items():
        loaded = re.findall(
            r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)", page
        )
        assert not loaded, f"{name} loads {loaded}"
        # GitHub takes a list or a table that follows a line of text without a blank line; the site does not.
        prose = re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
        assert not re.search(r"^(- |\| |\d+\. )", prose, re.MULTILINE), (
            f"{name}: a blank line is missing before a list"
        )


def test_what_a_package_index_shows_links_nowhere_that_it_cannot_follow() -> None:
    page = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["readme"]
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text("utf-8"))
    assert targets
    assert all(target.startswith("https://") for target in targets)


def test_each_file_that_the_architecture_names_is_there() -> None:
    page = (ROOT / "docs" / "topics" / "architecture.md").read_text("utf-8")
    named = re.findall(r"(?<![\w/.])([a-z_]+(?:/[\w]+)*\.(?:py|toml))\b", page)
    assert len(named) > 60
    for name in named:
        paths = [root / name.replace("NAME", "zerodha") for root in (ROOT / "src" / "brokerpool", ROOT)]
        assert any(path.exists() for path in paths), f"{name} is not there"
