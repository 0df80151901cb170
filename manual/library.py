"""docs/reference/library.md: every public name, with its signature; what changes there changes the public API."""

import importlib
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

API: Final = ("phone", "laptop", "keys", "uaf", "webauthn", "oauth", "outofband", "server")
TESTING: Final = ("phones", "server", "uaf", "messages", "devices")
MODULES: Final = (*(f"fidoloop.api.{name}" for name in API), *(f"fidoloop.testing.{name}" for name in TESTING))
_HEAD = """# The public API

<!-- Written by `make docs` from the code. -->

Everything else in fidoloop is private.
[The library](../library.md) says how these are used, and what is promised of them.
"""
_LONG: Final = 600


def render() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name in MODULES:
        module = importlib.import_module(name)
        parts += [f"## {name}\n", _first_paragraph(module), ""]
        for public in module.__all__:
            parts += _described(public, getattr(module, public))
        parts.append("")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _described(name: str, value: Any) -> list[str]:  # noqa: ANN401 - anything that a module has
    if inspect.isfunction(value):
        return [f"- `{name}{_signature(value)}`  \n  {_first_paragraph(value)}"]
    if not inspect.isclass(value):
        return [f"- `{name} = {value!r}`" if isinstance(value, str) else f"- `{name} = {_plain(repr(value))}`"]
    text = _first_paragraph(value)
    if issubclass(value, BaseException):
        return [f"- `{name}({value.__bases__[0].__name__})`  \n  {text}"]
    if issubclass(value, Enum):
        return [f"- `{name}`: {', '.join(f'`{member}`' for member in value.__members__)}  \n  {text}"]
    return [f"- `{name}{_constructor(value)}`  \n  {text}", *(f"  - `{line}`" for line in _members(value))]


def _constructor(kind: type) -> str:
    """Return what a class is called with; nothing where that is not for the public."""
    secret = (inspect.getdoc(vars(kind).get("__init__")) or "").startswith("Not public")
    return "" if secret or inspect.isabstract(kind) or getattr(kind, "_is_protocol", False) else _signature(kind)


def _members(kind: type) -> Iterator[str]:
    """Yield what a class of ours has beside its constructor's arguments, bases of ours included."""
    seen = set[str]()
    for owner in kind.__mro__:
        if not owner.__module__.startswith("fidoloop."):
            continue
        for name, value in vars(owner).items():
            if name in seen or (name.startswith("_") and name != "__call__"):
                continue
            seen.add(name)
            if isinstance(value, property):
                annotation = inspect.signature(value.fget).return_annotation if value.fget else ""
                yield f"{name}: {_annotation(annotation)}"
            elif isinstance(value, classmethod | staticmethod):
                yield f"{name}{_signature(getattr(kind, name))}"
            elif inspect.isfunction(value) and value.__name__ == name:
                yield f"{name}{_signature(value)}"


def _signature(value: Any) -> str:  # noqa: ANN401 - a function or class
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""
    return _plain(re.sub(r"^\(self(?:, )?", "(", text))


def _annotation(value: object) -> str:
    return _plain(value if isinstance(value, str) else inspect.formatannotation(value))


def _plain(text: str) -> str:
    """Return names without their modules, and no addresses; what is endless is cut."""
    text = re.sub(r"<function [^>]*<lambda> at 0x[0-9a-f]+>|<function [^>]* at 0x[0-9a-f]+>", "…", text)
    text = re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", text).replace("\n", " ")
    # Which kinds of key there are is cryptography's to say.
    text = re.sub(r"Union\[DHPrivateKey[^\]]*\]|DHPrivateKey(?: \| \w+)+", "PrivateKeyTypes", text)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def _first_paragraph(value: object) -> str:
    return (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ").replace("<", "\\<")
