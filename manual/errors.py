"""docs/reference/errors.md, from the error families, their exit codes and what is advised after each."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import fidoloop
from fidoloop.authenticator.errors import CommandStatus
from fidoloop.bridge.errors import ClientFailureError, ServerRefusedError
from fidoloop.cli.advice import ADVICE, advice_for
from fidoloop.cli.exits import CLIENT_ERRORS, TABLE, Exit
from fidoloop.protocol.uaf.status import AsmStatus, ClientError, StatusCode

_ROOMS = ("hsm", "authenticator", "bridge", "protocol", "server")
_EXITS = {
    Exit.OK: "done, verified",
    Exit.REFUSED: "refused, or not verified",
    Exit.USAGE: "used wrongly, or something to install is missing",
    Exit.DEVICE: "a device: the key device absent, locked, full, its key gone; no screen, camera or radio",
    Exit.NETWORK: "the network",
    Exit.USER: "the user said no, or time ran out",
}
_HEAD = """# Errors

<!-- Written by `make docs` from the errors in the code. -->

An error ends in what to do next. With `--json` it is one object with `error` (the code below), `detail` and `next`.
"""


def render() -> str:
    """Return the page."""
    parts = [_HEAD, "## Exit codes\n", "| Code | Means |\n|---|---|"]
    parts += [f"| {code.value} | {means} |" for code, means in _EXITS.items()]
    for room in _ROOMS:
        found = [kind for kind in _families() if kind.__module__.split(".")[1] == room]
        parts += [f"\n## Of {room}/\n", "| Error | Code | Exit | What it is | What to do next |\n|---|---|---|---|---|"]
        parts += [_row(kind) for kind in sorted(found, key=lambda kind: kind.__name__)]
    parts += ["\n## What a phone's UAF client says\n", "| Error | Number | Exit | What to do next |\n|---|---|---|---|"]
    for error in ClientError:
        advice = advice_for(ClientFailureError(error, ""))
        code = CLIENT_ERRORS.get(error, Exit.REFUSED)
        parts.append(f"| {error.name} | {error.value} | {code.value} | {_cell(advice)} |")
    parts += ["\n## What a server answers\n", "| Status | Number | What to do next |\n|---|---|---|"]
    for status in StatusCode:
        done = status in (StatusCode.OK, StatusCode.ACCEPTED)
        advice = "" if done else advice_for(ServerRefusedError(status, ""))
        parts.append(f"| {status.name} | {status.value} | {_cell(advice)} |")
    for title, codes in (("The ASM's status codes", AsmStatus), ("The authenticator's status codes", CommandStatus)):
        parts += [f"\n## {title}\n", "| Status | Number |\n|---|---|"]
        parts += [f"| {one.name} | 0x{one.value:02x} |" for one in codes]
    return "\n".join(parts) + "\n"


def _families() -> Iterator[type[BaseException]]:
    """Return every error that has an exit code, and all below them, wherever they are defined."""
    for module in pkgutil.walk_packages(fidoloop.__path__, "fidoloop."):
        if module.name.split(".")[1] in _ROOMS:
            importlib.import_module(module.name)
    waiting, seen = [family for family, _ in TABLE], set[type[BaseException]]()
    while waiting:
        kind = waiting.pop()
        if kind not in seen and kind.__module__.startswith("fidoloop."):
            seen.add(kind)
            waiting += kind.__subclasses__()
            yield kind


def _row(kind: type[BaseException]) -> str:
    code = getattr(kind, "code", "")
    shown = f"`{code}`" if isinstance(code, str) and code else ""
    exit_code = next(exit_code for family, exit_code in TABLE if issubclass(kind, family))
    what = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
    advice = next((ADVICE[base.__name__] for base in kind.__mro__ if base.__name__ in ADVICE), "")
    return f"| {kind.__name__} | {shown} | {exit_code.value} | {_cell(what)} | {_cell(advice)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("_*", "_\\*")
