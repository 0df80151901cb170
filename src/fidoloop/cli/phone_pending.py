"""`fidoloop phone pending`: what was cut off on this phone, and what its servers dispatched and it never got."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fidoloop.authenticator.errors import AsmError
from fidoloop.bridge.errors import BridgeError
from fidoloop.bridge.phone import Phone, Result
from fidoloop.bridge.profile import Account
from fidoloop.cli.common import Home, Insecure, Json, PhoneName, cell, console, note, show
from fidoloop.cli.exits import Exit, exit_for
from fidoloop.cli.phone_session import DenyOption, Number, Yes, existing_phone, result_members
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.protocol.outofband import PendingOperation


def pending(
    *,
    only_list: Annotated[bool, typer.Option("--list", help="Say what waits, and carry nothing out.")] = False,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    number: Number = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Finish what was cut off on this phone, and carry out what waits for it at its servers: lost pushes, say."""
    with existing_phone(name, home, yes=yes, deny=deny, insecure=insecure, number=number) as phone:
        run = CatchingUp()
        if not only_list:
            run.finish(phone)
        run.ask(phone, None, take=not only_list)
    if as_json:
        show({"waiting": run.waiting, "done": [result_members(result) for result in run.done]}, "", as_json=True)
    else:
        lines = [_line(each) for each in run.waiting] if only_list else [_done(result) for result in run.done]
        for line in lines or ["nothing waits" if only_list or run.code is Exit.OK else "nothing was carried out"]:
            console().print(line, soft_wrap=True)
    if run.code is not Exit.OK:
        raise typer.Exit(run.code)


def catch_up(phone: Phone, accounts: Sequence[Account]) -> list[Result]:
    """Finish what was cut off, carry out what waits for `accounts`, and return what was done; the rest is said."""
    run = CatchingUp()
    run.finish(phone)
    run.ask(phone, accounts, take=True)
    return run.done


class CatchingUp:
    """What came of it; that one operation fails keeps no other waiting."""

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []
        self.done: list[Result] = []
        self.code = Exit.OK

    def finish(self, phone: Phone) -> None:
        """Finish what was cut off."""
        for _, outcome in phone.finish_left_over():
            if isinstance(outcome, Result):
                self.done.append(outcome)
            else:
                self.failed("what was cut off", outcome)

    def ask(self, phone: Phone, accounts: Sequence[Account] | None, *, take: bool) -> None:
        """Ask the servers of `accounts`, or of all, what waits; with `take` carry it out."""
        for account, found in phone.waiting(accounts):
            if isinstance(found, BridgeError):
                self.failed(f"{account.username} at {account.base_url}", found)
                continue
            for operation in found.operations:
                self.waiting.append(_waiting(account, operation))
                if take:
                    self._take(phone, operation)

    def _take(self, phone: Phone, operation: PendingOperation) -> None:
        try:
            self.done.append(phone.take(operation.payload))
        except (BridgeError, KeyStoreError, AsmError) as error:
            self.failed(operation.operation, error)

    def failed(self, what: str, error: Exception) -> None:
        """Say what failed; the first failure decides the exit code."""
        note(f"{what}: {error}")
        if self.code is Exit.OK:
            self.code = exit_for(error) or Exit.REFUSED


def _waiting(account: Account, operation: PendingOperation) -> dict[str, Any]:
    return {
        "server": account.base_url,
        "username": account.username,
        "operation": operation.operation,
        "expirationTimeInEpochMillis": operation.expirationTimeInEpochMillis,
    }


def _line(waiting: dict[str, Any]) -> str:
    return f"{waiting['operation']} of {cell(waiting['username'])} at {cell(waiting['server'])}"


def _done(result: Result) -> str:
    return f"{result.operation}: {cell(result.message)} ({result.status})"
