"""The document as one page of HTML: no script, nothing from elsewhere."""

from html import escape
from typing import Any

from fidoloop.server.http.messages import PROBLEM

Json = dict[str, Any]
STYLE = "/docs/docs.css"
_REF = "#/components/schemas/"
_SECURITY = {
    "apiCredential": "API credential",
    "deviceSignature": "Device-Signature",
    "preLoginCookie": "pre-login cookie",
    "logInCookie": "log-in cookie",
    "browserCookie": "cookie of a remembered browser",
    "labCookie": "cookie of the lab console",
}


def render_page(document: Json) -> str:
    """Return the page."""
    info = document["info"]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation))
    body = [f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>", _words(info["description"])]
    body.append('<p><a href="/openapi.json">openapi.json</a></p>')
    for group, operations in groups.items():
        body += [f"<h2>{escape(group)}</h2>", *operations]
    body.append("<h2>Messages</h2>")
    body += [_message(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(info["title"])}: services</title><link rel="stylesheet" href="{STYLE}"></head>\n<body><main>\n'
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [_words(operation["description"])] if "description" in operation else []
    parts.append(f"<p>Who may call: {_security(operation['security'])}.</p>")
    rows = [
        (f"<code>{escape(one['name'])}</code>", f"{one['in']} parameter: {escape(one['description'])}")
        for one in operation.get("parameters", ())
    ]
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(("request", f"{_type(content['schema'])} as <code>{escape(media)}</code>"))
    for status, response in operation["responses"].items():
        rows.append((f"<code>{status}</code>", _response(response)))
    return (
        f'<details><summary><span class="method {method.lower()}">{method}</span> <code>{escape(path)}</code>'
        f" <span>{escape(operation['summary'])}</span></summary>{''.join(parts)}{_table(rows)}</details>"
    )


def _response(response: Json) -> str:
    text = escape(response["description"])
    for media, content in response.get("content", {}).items():
        if media != PROBLEM:
            text += f" {_type(content['schema'])} as <code>{escape(media)}</code>"
    return text


def _security(needed: list[Json]) -> str:
    names = [_SECURITY[name] for one in needed for name in one]
    if not names:
        return "everybody"
    return f"{'everybody, or with ' if {} in needed else 'with '}{' or '.join(names)}"


def _message(name: str, schema: Json) -> str:
    required = set(schema.get("required", ()))
    rows = []
    for member, inner in schema.get("properties", {}).items():
        mark = "" if member in required else " <small>optional</small>"
        rows.append((f"<code>{escape(member)}</code>{mark}", _member(inner)))
    words = _words(schema["description"]) if "description" in schema else ""
    return f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{words}{_table(rows)}</details>'


def _member(schema: Json) -> str:
    text = _type(schema)
    if "contentSchema" in schema:
        text += f", a JSON text of {_type(schema['contentSchema'])}"
    return text


def _type(schema: Json) -> str:
    """Return a schema in words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(_REF))
        return f'<a href="#{name}">{name}</a>'
    for joined in ("anyOf", "oneOf"):
        if joined in schema:
            return " or ".join(_type(one) for one in schema[joined])
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items') or {})}{_limits(schema)}"
    return f"{escape(str(schema.get('type', 'anything')))}{_limits(schema)}"


def _limits(schema: Json) -> str:
    names = {"minimum": "≥", "maximum": "≤", "minLength": "length ≥", "maxLength": "length ≤", "minItems": "at least"}
    names |= {"maxItems": "at most", "pattern": "pattern"}
    found = [f"{words} {escape(str(schema[name]))}" for name, words in names.items() if name in schema]
    return f" <small>({', '.join(found)})</small>" if found else ""


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{name}</th><td>{what}</td></tr>" for name, what in rows)
    return f"<table>{cells}</table>" if rows else ""


def _words(text: str) -> str:
    """Return a paragraph, `code` as such."""
    pieces = escape(text).split("`")
    return f"<p>{''.join(f'<code>{piece}</code>' if index % 2 else piece for index, piece in enumerate(pieces))}</p>"
