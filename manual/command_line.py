"""docs/reference/command-line.md, from the command itself."""

import os
import re

_HEAD = """# Command line

<!-- Written by `make docs` from the commands. -->

Exit codes are the same for all commands: [errors](errors.md).

"""


def render() -> str:
    """Return the page: every command with its arguments and options, as `--help` describes them."""
    # Help texts are put together when the commands are imported: as for a terminal without colours.
    os.environ["NO_COLOR"] = "1"
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from fidoloop.cli.main import app

    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="fidoloop"), name="fidoloop")
    text = text.replace("&#x27;", "'").replace("&quot;", '"').replace("&amp;", "&")
    return _HEAD + re.sub(r"\A# `fidoloop`\n\n", "", _links_escaped(text)).rstrip() + "\n"


def _links_escaped(text: str) -> str:
    """Return the page with what Markdown would take for HTML or for a link put in code."""
    return re.sub(r"(?<![`\w])(<[a-z]+>)(?!`)", r"`\1`", text)
