"""`fidoloop server metadata`: the models of authenticators that the server knows."""

from pathlib import Path
from typing import Annotated

import typer

from fidoloop.cli.server_common import Home, Json, say
from fidoloop.server.config import default_home

app = typer.Typer(no_args_is_help=True, help="Metadata statements of authenticator models.")


@app.command("add")
def metadata_add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A metadata statement, JSON.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check a metadata statement and hand it to the server, which takes it up within a second."""
    from fidoloop.server.metadata import add_metadata_file

    entry = add_metadata_file(file, (home or default_home()) / "metadata")
    statement = entry.statement
    say(as_json, {"aaid": statement.aaid}, f"added {statement.aaid}: {statement.description}")
