"""What mkdocs is told while it builds the site: the order of the pages, and the files that they lead to."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

#: Folder of docs/ -> its title in the navigation.
SECTIONS = {"how-to": "How to", "reference": "Reference", "reference/api": "API", "topics": "Topics"}

_LISTED = re.compile(r"\]\(([\w/-]+\.md)\)")
_UPWARDS = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Order the pages as index.md lists them; one that it does not list fails the strict build."""
    listed = list(dict.fromkeys(_LISTED.findall(Path(config.docs_dir, "index.md").read_text("utf-8"))))
    sections = [
        {title: [page for page in listed if page.rpartition("/")[0] == folder]}
        for folder, title in SECTIONS.items()
    ]
    config.nav = ["index.md", "tutorial.md", *sections, "errors.md"]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file outside docs/ that a page links to, so that the site is whole by itself."""
    root = Path(config.docs_dir).parent
    for page in list(files.documentation_pages()):
        for link in _UPWARDS.findall(page.content_string):
            name = _outside(link, page, config)
            if name is not None and files.get_file_from_path(f"source/{name}.md") is None:
                text = _shown(root / name, name)
                uri = f"source/{name}.md"
                files.append(File.generated(config, uri, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave docs/ to the page of that file."""
    up = "../" * page.file.src_uri.count("/")

    def inside(match: re.Match[str]) -> str:
        name = _outside(match[1], page.file, config)
        return match[0] if name is None else f"]({up}source/{name}.md"

    return _UPWARDS.sub(inside, markdown)


def _outside(link: str, page: File, config: MkDocsConfig) -> str | None:
    """Return the linked file's path in the project; None for a page of docs/ and for what is not there."""
    docs = Path(config.docs_dir)
    target = (docs / page.src_uri).parent.joinpath(link).resolve()
    if target.is_relative_to(docs) or not target.is_file():
        return None
    return target.relative_to(docs.parent).as_posix()


def _shown(file: Path, name: str) -> str:
    text = file.read_text("utf-8")
    if file.suffix == ".md":
        return text
    return f"# {name}\n\n````{file.suffix.removeprefix('.')}\n{text}````\n"
