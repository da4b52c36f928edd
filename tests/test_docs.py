"""The documents lead where they say: every relative link of every page exists."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def broken(pages: list[Path]) -> Iterator[str]:
    for page in pages:
        for target in LINK.findall(page.read_text()):
            if not (page.parent / target).exists():
                yield f"{page.name}: {target}"


def test_every_relative_link_leads_somewhere() -> None:
    assert list(broken(PAGES)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("see [this](nowhere.md), [that](page.md#part) and [the web](https://example.org)")
    assert list(broken([page])) == ["page.md: nowhere.md"]


def test_every_runbook_says_what_to_look_at_what_to_do_and_whom_to_wake() -> None:
    pages = [page for page in (ROOT / "docs/runbooks").glob("*.md") if page.name != "README.md"]
    assert len(pages) >= 25
    index = (ROOT / "docs/runbooks/README.md").read_text()
    for page in pages:
        text = page.read_text()
        for part in ("## What it means", "## What to look at", "## What to do", "## Whom to wake"):
            assert part in text, f"{page.name} lacks {part!r}"
        assert f"]({page.name})" in index, f"{page.name} is not in the index"


def test_the_committed_page_needs_nothing_from_elsewhere() -> None:
    page = (ROOT / "docs/reports/index.html").read_text()
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", page)
    assert 'class="good">0 findings open' in page
