"""A page of HTML as sites have them: the directive reference, with markup, links and classes around it."""

from __future__ import annotations

import html
import re
from pathlib import Path

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "directives"
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Directives</title>
<link rel="stylesheet" href="/assets/site.css"><script src="/assets/site.js" defer></script></head>
<body class="page page--reference"><nav class="nav"><ul class="nav__list">
"""


def page(size: int) -> bytes:
    """The first `size` bytes of it."""
    texts = [path.read_text() for path in sorted(REFERENCE.glob("http_*.md"))]
    items = [
        f'<li class="nav__item"><a class="nav__link" href="/reference/{path.stem}">{path.stem}</a></li>\n'
        for path in sorted(REFERENCE.glob("*.md"))
    ]
    whole = HEAD + "".join(items) + "</ul></nav><main>\n" + "".join(map(_article, texts))
    data = whole.encode()
    assert len(data) >= size, "the reference became too short for this page"
    return data[:size]


def _article(text: str) -> str:
    blocks = "".join(_block(block) for block in text.split("\n\n"))
    return f'<article class="card">\n{blocks}</article>\n'


def _block(text: str) -> str:
    heading = re.match(r"(#+) (.*)", text)
    if heading:
        level = len(heading[1])
        return f'<h{level} id="{html.escape(heading[2])}" class="card__title">{_inline(heading[2])}</h{level}>\n'
    if text.startswith("|"):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
        cells = "".join(
            "<tr>" + "".join(f'<td class="card__cell">{_inline(cell)}</td>' for cell in row) + "</tr>\n" for row in rows
        )
        return f'<table class="card__table">\n{cells}</table>\n'
    if text.startswith("```"):
        return f'<pre class="card__code"><code>{html.escape(text.strip("`"))}</code></pre>\n'
    return f'<p class="card__text">{_inline(text)}</p>\n'


def _inline(text: str) -> str:
    text = re.sub(r"\[([^]]*)\]\(([^)]*)\)", r"<a href='\2'>\1</a>", html.escape(text, quote=False))
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
