"""The API's reference as a page of its own: plain HTML from the OpenAPI document, without any script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from slipstream.web.security.headers import DOCS

router = APIRouter(include_in_schema=False)

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
section { border-top: 1px solid light-dark(#d8dce2, #353b45); padding: .75rem 0; }
code { font-size: .9em; } h3 { margin: 0; font-size: 1rem; font-weight: 600; overflow-wrap: anywhere; }
h3 b { display: inline-block; min-width: 4.5rem; color: light-dark(#3457d5, #8aa4ff); }
p, ul { margin: .25rem 0; } li { overflow-wrap: anywhere; } small { color: light-dark(#5b6370, #a2a9b5); }
"""


@router.get(DOCS, response_class=HTMLResponse)
def reference(request: Request) -> HTMLResponse:
    """Every address, what it takes and what it answers."""
    document = request.app.openapi()
    body = "".join(_body(document))
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(document["info"]["title"])}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body>{body}</body></html>"
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def _body(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
    yield f"<p>{escape(info['description'])}</p><p><a href='/api/openapi.json'>OpenAPI document</a></p>"
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation.get("tags", ["other"])[0], []).append((method, path, operation))
    for tag, operations in by_tag.items():
        yield f"<h2>{escape(tag)}</h2>"
        for method, path, operation in operations:
            yield "".join(_operation(method, path, operation))


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<section><h3><b>{method.upper()}</b> <code>{escape(path)}</code></h3>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    lines = [_parameter(one) for one in operation.get("parameters", [])]
    lines += [f"body: <code>{escape(name)}</code>" for name in _content(operation.get("requestBody", {}))]
    for status, answer in operation.get("responses", {}).items():
        if status.startswith("2"):
            lines += [f"answers {escape(status)}: <code>{escape(name)}</code>" for name in _content(answer)]
    yield f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul></section>"


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    default = f", default {schema['default']!r}" if "default" in schema else ""
    about = f": {parameter['description']}" if parameter.get("description") else ""
    return f"<code>{escape(parameter['name'])}</code> <small>{escape(parameter['in'] + default)}</small>{escape(about)}"


def _content(part: dict[str, Any]) -> Iterator[str]:
    """What a body or an answer holds, in a word each."""
    for kind, content in part.get("content", {}).items():
        yield _shape(content.get("schema", {})) if kind == "application/json" else kind


def _shape(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    return str(schema.get("title") or schema.get("type", "any"))
