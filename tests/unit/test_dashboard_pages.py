"""The dashboard's files: served from memory under a strict policy, complete, and part of the wheel."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from brokerpool.gateway.dashboard.pages import Pages
from tests.gateway_client import gateway

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src/brokerpool/gateway/dashboard/static"
OWN = sorted(path for path in STATIC.glob("*.*") if path.suffix in {".html", ".css", ".js"})


def test_every_file_comes_with_a_policy_that_lets_nothing_but_our_own_files_in() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), aiohttp.ClientSession(served_by.http_url) as http:
            for path in ("/dashboard", *(f"/dashboard/static/{name}" for name in Pages().names)):
                async with http.get(path) as answer:
                    assert answer.status == 200, path
                    policy = answer.headers["Content-Security-Policy"]
                    assert policy.startswith("default-src 'self';")
                    assert "frame-ancestors 'none'" in policy
                    assert "unsafe" not in policy
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    tag = answer.headers["ETag"]
                async with http.get(path, headers={"If-None-Match": tag}) as answer:
                    assert (answer.status, await answer.read()) == (304, b"")
            for path in ("../routes.py", "%2e%2e/routes.py", "nothing.js", "vendor", ""):
                async with http.get(f"/dashboard/static/{path}") as answer:
                    assert answer.status == 404, path

    asyncio.run(main())


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_is_inline_nothing_is_markup_and_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"https?://|//[a-z]+\.", text.replace("http://www.w3.org/2000/svg", ""))
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", text)


def test_whatever_the_page_and_its_modules_load_is_served() -> None:
    names = Pages().names
    page = (STATIC / "index.html").read_text("utf-8")
    loaded = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    assert {urljoin("/dashboard", path).removeprefix("/dashboard/static/") for path in loaded} <= names
    for module in STATIC.glob("*.js"):
        for imported in re.findall(r'from "\./([^"]+)"', module.read_text("utf-8")):
            assert imported in names, f"{module.name} imports {imported}"


def test_every_label_belongs_to_a_field_and_every_id_that_the_scripts_use_is_on_the_page() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r' (?:for|aria-labelledby|aria-describedby|list)="([^"]+)"', page)) <= set(ids)
    for module in STATIC.glob("*.js"):
        assert set(re.findall(r'byId\("([^"]+)"\)', module.read_text("utf-8"))) <= set(ids), module.name


def test_the_wheel_has_every_file_of_the_page_and_the_licence_of_what_is_not_ours(tmp_path: Path) -> None:
    build = f"from hatchling.build import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    folder = "brokerpool/gateway/dashboard/static"
    assert {f"{folder}/{name}" for name in Pages().names} <= packed
    assert f"{folder}/vendor/uplot-license.txt" in packed
    assert any(name.endswith("/licenses/NOTICE") for name in packed)
