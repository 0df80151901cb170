"""`fidoloop server credential` as an operator meets it."""

import asyncio
from pathlib import Path

from fidoloop.cli.exits import Exit
from tests.cli.command import invoke
from tests.server.harness import running


def test_registered_keys_are_listed_with_how_they_are_attested(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as bench:
            await bench.registered("jeff", bench.full)
            await bench.registered("mia", bench.surrogate)

    asyncio.run(scenario())
    done = invoke("server", "credential", "list", "--home", str(tmp_path), "--json")
    assert done.code == Exit.OK, done.all
    rows = {row["username"]: row for row in done.json["credentials"]}
    assert {name: row["attestation"] for name, row in rows.items()} == {"jeff": "full", "mia": "surrogate"}
    assert rows["jeff"]["verificationMethods"] == []
    shown = invoke("server", "credential", "list", "--home", str(tmp_path)).out
    assert "full" in shown
    assert "surrogate" in shown
    assert "verificationMethods" not in shown
