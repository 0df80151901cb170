"""`fidoloop phone targets, credentials, modify-target, delete-target`: what servers know of this phone.

A phone asks with a signature of the dispatch target's own key: it holds no API credential (HTTP contract 6 and 11).
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.table import Table

from fidoloop.bridge.errors import BridgeError, NoDispatchTargetError, UserDeclinedError
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Account
from fidoloop.cli.common import Home, Insecure, Json, PhoneName, cell, note, print_table, show
from fidoloop.cli.exits import Exit, exit_for
from fidoloop.cli.phone_session import Yes, account_of, ask, existing_phone
from fidoloop.protocol import base64url
from fidoloop.protocol.outofband import DeviceCredentials

User = Annotated[str, typer.Option(help="The account whose dispatch target it is.")]
ServerOption = Annotated[str | None, typer.Option(help="Base URL, where the name has accounts at several servers.")]


def targets(*, name: PhoneName = "phone", home: Home = None, insecure: Insecure = False, as_json: Json = False) -> None:
    """List this phone's dispatch targets as their servers know them."""
    rows: list[dict[str, Any]] = []
    with existing_phone(name, home, yes=False, deny=True, insecure=insecure) as phone:
        asked = _Asked(phone.targets.credentials)
        for account, known in asked.each(phone):
            rows.append(
                {
                    "server": account.base_url,
                    "username": account.username,
                    "id": account.target_id,
                    "name": known.dispatchTarget.name if known else account.target_name,
                    "dispatcher": (known.dispatchTarget.dispatcher or None) if known else None,
                    "known": known is not None,
                }
            )
    if as_json:
        show({"targets": rows}, "", as_json=True)
    else:
        table = Table("user", "server", "name", "dispatcher", "id")
        for row in rows:
            shown = (row["username"], row["server"], row["name"], row["dispatcher"] or "", row["id"])
            table.add_row(*(cell(str(text)) for text in shown))
        print_table(table, "no dispatch targets")
    asked.fail()


def credentials(
    *, name: PhoneName = "phone", home: Home = None, insecure: Insecure = False, as_json: Json = False
) -> None:
    """List the keys that the servers know of this phone's users, and which of them this phone holds."""
    rows: list[dict[str, Any]] = []
    with existing_phone(name, home, yes=False, deny=True, insecure=insecure) as phone:
        asked = _Asked(phone.targets.credentials)
        for account, known in asked.each(phone):
            if known is not None:
                rows.extend(_keys(phone, account, known))
    if as_json:
        show({"credentials": rows}, "", as_json=True)
    else:
        table = Table("user", "server", "AAID", "key", "on this phone", "at the server")
        for row in rows:
            where = tuple("yes" if row[place] else "no" for place in ("onThisPhone", "atServer"))
            shown = (cell(row["username"]), cell(row["server"]), cell(row["aaid"]), cell(row["keyID"]), *where)
            table.add_row(*shown)
        print_table(table, "no keys")
    asked.fail()


def modify_target(
    *,
    user: User,
    server: ServerOption = None,
    target_name: Annotated[str | None, typer.Option(help="What the laptop is to call this phone.")] = None,
    dispatcher: Annotated[
        str | None, typer.Option(help="How tokens are to come where the laptop does not say.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="The dispatcher's address of this phone, as a push needs.")
    ] = None,
    name: PhoneName = "phone",
    home: Home = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Change a dispatch target at its server."""
    if target_name is None and dispatcher is None and address is None:
        raise typer.BadParameter("nothing to change: --target-name, --dispatcher or --address")
    with existing_phone(name, home, yes=False, deny=True, insecure=insecure) as phone:
        account = account_of(phone, user, server)
        changed = phone.targets.modify(account, name=target_name, dispatcher=dispatcher, address=address)
    show(
        {"id": changed.target_id, "name": changed.target_name},
        f"dispatch target of {cell(user)} changed",
        as_json=as_json,
    )


def delete_target(
    *,
    user: User,
    server: ServerOption = None,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Delete a dispatch target and its keys: nothing more is dispatched to this phone. The account's keys stay."""
    with existing_phone(name, home, yes=yes, deny=True, insecure=insecure) as phone:
        account = account_of(phone, user, server)
        if account.target_id is None:
            raise NoDispatchTargetError(f"{user} at {account.base_url} has no dispatch target on this phone")
        if not yes and not ask(f"Delete the dispatch target of {account.username} at {account.base_url}?"):
            raise UserDeclinedError("nothing was deleted")
        phone.targets.delete(account)
    show({"deleted": account.target_id}, f"dispatch target of {cell(user)} deleted", as_json=as_json)


class _Asked:
    """Asks for each account; that one server fails must not hide what the others say."""

    def __init__(self, ask_for: Callable[[Account], DeviceCredentials]) -> None:
        self._ask_for = ask_for
        self._failed: BridgeError | None = None

    def each(self, phone: Phone) -> Iterator[tuple[Account, DeviceCredentials | None]]:
        """Yield each account that has a target, and what its server says, None where it does not know the target."""
        for account in phone.targets.accounts():
            try:
                known = self._ask_for(account)
            except BridgeError as error:
                note(f"{account.username} at {account.base_url}: {error}")
                self._failed = self._failed or error
                yield account, None
            else:
                yield account, known

    def fail(self) -> None:
        """End with the first failure's exit code, if there was one; what it was has been said."""
        if self._failed is not None:
            raise typer.Exit(exit_for(self._failed) or Exit.REFUSED)


def _keys(phone: Phone, account: Account, known: DeviceCredentials) -> Iterator[dict[str, Any]]:
    """Yield the keys that either side knows."""
    held = {
        (entry.aaid, base64url.encode(entry.key_id))
        for entry in phone.asm.registrations()
        if (entry.app_id, entry.username) == (account.app_id, account.username)
    }
    stored = {(entry.aaid, entry.keyID): entry.creationTimeInEpochMillis for entry in known.credentials}
    for aaid, key_id in dict.fromkeys((*stored, *sorted(held))):
        yield {
            "server": account.base_url,
            "username": account.username,
            "aaid": aaid,
            "keyID": key_id,
            "creationTimeInEpochMillis": stored.get((aaid, key_id)),
            "onThisPhone": (aaid, key_id) in held,
            "atServer": (aaid, key_id) in stored,
        }
