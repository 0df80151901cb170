"""`fidoloop phone profiles`: which phones there are."""

from typing import Any

from rich.table import Table

from fidoloop.bridge.profile import Profile, ProfileMissingError
from fidoloop.cli.common import Home, Json, cell, phone_names, phone_path, print_table, show


def profiles(*, home: Home = None, as_json: Json = False) -> None:
    """List the phones that are set up: each is a profile with accounts and a key store of its own; --name chooses."""
    found = [described for name in phone_names(home) if (described := _described(name, home)) is not None]
    if as_json:
        show({"phones": found}, "", as_json=True)
        return
    table = Table("name", "accounts", "key store", "user verification")
    for phone in found:
        accounts = ", ".join(f"{account['username']} at {account['server']}" for account in phone["accounts"])
        table.add_row(phone["name"], cell(accounts), cell(phone["keys"]), phone["verification"])
    print_table(table, "no phones: `fidoloop phone register` sets the first one up")


def _described(name: str, home: Home) -> dict[str, Any] | None:
    """Return what a phone is; None where its file holds adopted keys only and no phone was ever set up."""
    profile = Profile(phone_path(home, name))
    try:
        settings = profile.settings()
        accounts = [{"username": one.username, "server": one.base_url} for one in profile.accounts()]
    except ProfileMissingError:
        return None
    finally:
        profile.close()
    return {
        "name": name,
        "keys": settings.keys_uri,
        "verification": settings.verification,
        "form": settings.form.value,
        "accounts": accounts,
    }
