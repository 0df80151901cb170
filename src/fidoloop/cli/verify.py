"""`fidoloop verify`: what a registration or authentication response says, and whether it verifies."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from fidoloop.cli.common import Json, printable
from fidoloop.cli.exits import Exit
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.dissect import Node, dissect_assertion
from fidoloop.protocol.uaf.inspect_response import ResponseReport, inspect_response
from fidoloop.protocol.uaf.inspection import AssertionReport, Check, Outcome
from fidoloop.protocol.uaf.verification_input import MAX_INPUT_BYTES, VerificationInput, parse_verification_input

_COLOURS = {Outcome.OK: "green", Outcome.FAILED: "red", Outcome.NOT_CHECKED: "yellow"}


def verify(
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(
            metavar="FILE|-",
            help='A response, or {"response", "registrations"?, "roots"?: \\[base64 DER], "metadata"?: \\[statement], '
            '"transactions"?: \\[base64url], "at"?: ISO 8601 or seconds since 1970}.',
        ),
    ],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what could not be checked.")] = False,
    each_byte: Annotated[
        bool, typer.Option("--bytes", help="Name every byte of each assertion, and what is wrong with it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print what each assertion says and which rules hold; exit 0 if it verifies, 1 if not.

    A rule whose counterpart was not given (roots, fcParams, transactions) is `not checked`, which --strict refuses.
    A signature must be checked: an authentication verifies only beside its registration.
    """
    given = parse_verification_input(file.read(MAX_INPUT_BYTES + 1))
    trees = [_dissected(given, index) for index in range(len(given.response.assertions))] if each_byte else []
    if not as_json:
        for tree in trees:  # before the rules: a malformed assertion, which ends them, is the one to look at
            _print_bytes(tree)
    report = inspect_response(given, now=datetime.now(UTC))
    verified = report.verified(strict=strict)
    if as_json:
        bytes_of_each = {"bytes": msgspec.to_builtins(trees)} if each_byte else {}
        typer.echo(json.dumps({"verified": verified, **msgspec.to_builtins(report), **bytes_of_each}))
    else:
        _print(report)
        typer.secho("verified" if verified else "NOT VERIFIED", fg="green" if verified else "red", bold=True)
    if not verified:
        raise typer.Exit(Exit.REFUSED)


def _dissected(given: VerificationInput, index: int) -> Node:
    where = f"assertions[{index}].assertion"
    return dissect_assertion(base64url.decode(given.response.assertions[index].assertion, where))


def _print_bytes(tree: Node) -> None:
    for depth, node in tree.walk():
        value = "" if node.value is None else f": {printable(str(node.value))}"
        problem = typer.style(f"  {printable(node.problem)}", fg="red") if node.problem else ""
        typer.echo(f"{node.offset:5} {node.length:5}  {'  ' * depth}{node.name}{value}{problem}")


def _print(report: ResponseReport) -> None:
    _print_said(report.says)
    _print_checks(report.checks)
    for index, assertion in enumerate(report.assertions):
        typer.echo(f"assertion {index}")
        _print_assertion(assertion)


def _print_assertion(assertion: AssertionReport) -> None:
    _print_said(assertion.says)
    _print_checks(assertion.checks)


def _print_said(says: dict[str, Any]) -> None:
    for name, value in says.items():
        for item in value if isinstance(value, list) else [value]:
            shown = ", ".join(f"{key} {part}" for key, part in item.items()) if isinstance(item, dict) else str(item)
            typer.echo(f"  {name}: {printable(shown) or '-'}")


def _print_checks(checks: tuple[Check, ...]) -> None:
    for check in checks:
        outcome = typer.style(check.outcome.value, fg=_COLOURS[check.outcome])
        typer.echo(f"  [{outcome}] {check.name}" + (f": {printable(check.detail)}" if check.detail else ""))
