"""One page that a reviewer signs from: no script, nothing loaded from elsewhere, readable on paper."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

STYLE: Final = Path(__file__).with_name("page.css").read_text()


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """Return a table; numbers stand to the right."""
    body = list(rows)
    numbers = {at for at in range(len(head)) if body and all(isinstance(row[at], int | float) for row in body)}

    def cell(tag: str, at: int, value: object) -> str:
        shown = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
        text = html.escape(shown).replace("\n", "<br>").replace("/", "/<wbr>")
        return f"<{tag}{' class=n' if at in numbers else ''}>{text}</{tag}>"

    lines = [f"<table><caption>{html.escape(caption)}</caption>" if caption else "<table>"]
    lines += ["<thead><tr>" + "".join(cell("th", at, name) for at, name in enumerate(head)) + "</tr></thead><tbody>"]
    lines += ["<tr>" + "".join(cell("td", at, value) for at, value in enumerate(row)) + "</tr>" for row in body]
    return "\n".join([*lines, "</tbody></table>"])


def markdown(path: Path) -> str:
    """Return a text of the repository as HTML, without its title."""
    text = path.read_text().split("\n", maxsplit=1)[1]
    rendered: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return rendered.replace("<h2>", "<h3>").replace("</h2>", "</h3>")


def whole(title: str, intro: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Return the page; each section is an id, a title and its HTML."""
    contents = "".join(f'<li><a href="#{key}">{html.escape(name)}</a></li>' for key, name, _ in sections)
    body = "\n".join(
        f'<section id="{key}">\n<h2>{html.escape(name)}</h2>\n{text}\n</section>' for key, name, text in sections
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>\n<h1>{html.escape(title)}</h1>\n{intro}\n<nav><ol>{contents}</ol></nav>\n{body}\n</body></html>\n"
    )
