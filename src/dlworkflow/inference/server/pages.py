"""The pages of the server: the files of the folder `page`, and one about its addresses, made from their description."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class PageFile(NamedTuple):
    """A file of the web page and its media type."""

    content: bytes
    media_type: str


def page_files() -> dict[str, PageFile]:
    """Return the files of the web page by name."""
    folder = files(__package__) / "page"
    return {
        file.name: PageFile(file.read_bytes(), _TYPES[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.is_file()
    }


def api_page(description: dict[str, Any]) -> str:
    """Return a page about the addresses of an OpenAPI description; it loads nothing but the style of the web page."""
    title = escape(description["info"]["title"])
    sections = "\n".join(
        _section(method, path, operation)
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Addresses: {title}</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="page.css">
</head>
<body>
<header>
<h1>Addresses</h1>
<p class="note">{title}. For programs: <a href="openapi.json">openapi.json</a>. <a href=".">To the page</a>.</p>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [(f"{each['name']} ({each['in']})", each.get("description", "")) for each in operation.get("parameters", ())]
    rows += [(kind, each["schema"].get("description", "")) for kind, each in _bodies(operation)]
    rows += [(status, each["description"]) for status, each in operation["responses"].items()]
    table = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return (
        f"<section>\n<h2><code>{method.upper()} {escape(path)}</code></h2>\n"
        f"<p>{escape(operation.get('description') or operation['summary'])}</p>\n<table>{table}</table>\n</section>"
    )


def _bodies(operation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(operation.get("requestBody", {}).get("content", {}).items())
