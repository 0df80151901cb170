"""`fidoloop server config`: the settings in effect, and where each is from."""

import json
from typing import Annotated, Any

import typer

from fidoloop.cli.server_common import Home, Json, show_rows
from fidoloop.server.config import default_home
from fidoloop.server.settings.effective import effective_settings

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting of docs/configuration.md; may be repeated."),
]


def options_of(settings: list[str] | None, **options: object) -> dict[str, object]:
    """Return what the command line sets: its options by the names of their settings, and the pairs of --set."""
    found = dict(options)
    for pair in settings or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {pair}: not of the form NAME=VALUE")
        found[name] = value
    return found


def config(home: Home = None, settings: Set = None, as_json: Json = False) -> None:
    """Print every setting, its value in effect and where that is from; passwords are left out."""
    rows: list[dict[str, Any]] = [
        {
            "name": entry.setting.name,
            "value": entry.value,
            "unit": entry.setting.unit or None,
            "origin": entry.origin.kind.value,
            "where": entry.origin.where or None,
        }
        for entry in effective_settings(home or default_home(), options_of(settings))
    ]
    if not as_json:
        rows = [row | {"value": json.dumps(row["value"]), "from": row["where"] or row["origin"]} for row in rows]
    show_rows(as_json, "settings", ("name", "value", "unit", "from"), rows)
