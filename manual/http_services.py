"""docs/reference/http.md, from the same document that a server gives at /openapi.json."""

from typing import Any

from fidoloop.server.http.messages import PROBLEM
from fidoloop.server.openapi.document import build_document
from fidoloop.server.routes import make_routes

Json = dict[str, Any]
_REF = "#/components/schemas/"
_WHO = {
    "apiCredential": "an API credential",
    "deviceSignature": "a Device-Signature",
    "preLoginCookie": "the pre-login cookie",
    "logInCookie": "the log-in cookie",
    "browserCookie": "the cookie of a remembered browser",
    "labCookie": "the lab console's cookie",
}
_HEAD = """# HTTP services

<!-- Written by `make docs` from the description of the services. -->

A running server has this at `/docs`, with its own address, and for programs at `/openapi.json` (OpenAPI 3.1).

"""


def render() -> str:
    """Return the page: every operation with who may call it and what it answers, then the messages' members."""
    document = build_document(make_routes(lab=True), base_url="https://localhost:8443", lab=True)
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation))
    parts = [_HEAD + _text(document["info"]["description"])]
    for group, operations in groups.items():
        parts += [f"## {group[:1].upper()}{group[1:]}", *operations]
    parts.append("## Messages")
    parts += [_message(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "\n\n".join(parts) + "\n"


def _operation(method: str, path: str, operation: Json) -> str:
    lines = [
        f"### {method} {_code(path)}",
        "",
        f"{_text(operation['summary']).rstrip('.')}. Who may call: {_who(operation)}.",
    ]
    if "description" in operation:
        lines += ["", _text(operation["description"])]
    lines += ["", "| | |", "|---|---|"]
    for one in operation.get("parameters", ()):
        lines.append(f"| {_code(one['name'])} | {one['in']} parameter: {_cell(one['description'])} |")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        lines.append(f"| request | {_type(content['schema'])} as {_code(media)} |")
    for status, response in operation["responses"].items():
        lines.append(f"| {status} | {_response(response)} |")
    return "\n".join(lines)


def _who(operation: Json) -> str:
    needed = [_WHO[name] for one in operation["security"] for name in one]
    if not needed:
        return "everybody"
    return f"{'everybody, or with ' if {} in operation['security'] else 'with '}{' or '.join(needed)}"


def _response(response: Json) -> str:
    types = [
        f"{_type(content['schema'])} as {_code(media)}"
        for media, content in response.get("content", {}).items()
        if media != PROBLEM
    ]
    return " ".join([_cell(response["description"]), *types])


def _message(name: str, schema: Json) -> str:
    lines = [f"### {name}", ""]
    if "description" in schema:
        lines += [_text(schema["description"]), ""]
    members = schema.get("properties", {})
    if not members:
        return "\n".join([*lines, _type(schema) if "type" in schema or "anyOf" in schema else "No members."])
    required = set(schema.get("required", ()))
    lines += ["| Member | Type | |", "|---|---|---|"]
    for member, inner in members.items():
        mark = "" if member in required else "optional"
        lines.append(f"| {_code(member)} | {_type(inner)} | {mark} |")
    return "\n".join(lines)


def _type(schema: Json) -> str:
    if "$ref" in schema:
        return _code(str(schema["$ref"]).removeprefix(_REF))
    if "contentSchema" in schema:
        return f"text holding JSON: {_type(schema['contentSchema'])}"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(_code(str(one)) for one in schema["enum"])
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return f"array of {_type(schema['items'])}"
    return _code(str(schema["type"])) if "type" in schema else "anything"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """Return prose with what Markdown would take for markup escaped, except `code`."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "\\<").replace("*", "\\*").replace("_", "\\_") for part in parts[::2]]
    return "`".join(parts)
