"""What is kept of FIDO2: settings that fit together, credentials in the operator's hands, sessions that end."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fidoloop.server import sessions
from fidoloop.server.backup import back_up
from fidoloop.server.config import ServerConfig, load_config
from fidoloop.server.errors import SettingError
from fidoloop.server.fido2.secrets import decoy_credentials, user_handle
from fidoloop.server.restore import restore
from fidoloop.server.settings.fido2 import Fido2
from fidoloop.server.store import fido2_queries
from fidoloop.server.store.open import open_store
from tests.cli.command import invoke
from tests.server.harness import BASE, running
from tests.server.passkeys import Passkey, creation_options, enrolled, log_in, request_options


def config(tmp_path: Path, base_url: str = BASE, **settings: Any) -> ServerConfig:  # noqa: ANN401 - any setting
    return ServerConfig(home=tmp_path, base_url=base_url, fido2=Fido2(**settings))


def test_the_relying_party_is_the_servers_own_host_unless_it_is_said(tmp_path: Path) -> None:
    found = config(tmp_path, "https://Login.Example.org:8443/").fido2
    assert (found.rp_id, found.origins) == ("login.example.org", ("https://login.example.org:8443",))
    found = config(tmp_path, "https://login.example.org", rp_id="example.org").fido2
    assert (found.rp_id, found.origins) == ("example.org", ("https://login.example.org",))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"rp_id": "https://example.org"}, "fido2.rp_id"),
        ({"rp_id": "Example.org"}, "fido2.rp_id"),
        ({"rp_id": "example.org:443"}, "fido2.rp_id"),
        ({"rp_id": "example.org"}, "fido2.origins"),
        ({"rp_id": "host"}, "fido2.origins"),
        ({"origins": ("https://evil.example",)}, "fido2.origins"),
        ({"origins": ("https://notlocalhost",)}, "fido2.origins"),
        ({"origins": ("https://localhost/path",)}, "fido2.origins"),
        ({"origins": ("localhost",)}, "fido2.origins"),
        ({"top_origins": ("https://a.example/",)}, "fido2.top_origins"),
    ],
)
def test_settings_that_no_browser_would_take_are_refused(tmp_path: Path, settings: Any, name: str) -> None:  # noqa: ANN401
    with pytest.raises(SettingError) as refused:
        config(tmp_path, **settings)
    assert refused.value.name == name


def test_handles_say_nothing_and_decoys_are_of_usual_shapes() -> None:
    secret = b"s" * 32
    handles = {user_handle(secret, name) for name in ("jeff", "mia", "")}
    assert len(handles) == 3
    assert user_handle(b"t" * 32, "jeff") not in handles
    kinds = set()
    for number in range(200):
        found = decoy_credentials(secret, f"user{number}")
        assert found == decoy_credentials(secret, f"user{number}")
        assert 1 <= len(found) <= 2
        kinds |= {(len(entry.id), entry.transports) for entry in found}
    assert len(kinds) == 4


@pytest.mark.sqlite_only
def test_an_operator_lists_and_revokes_credentials(tmp_path: Path) -> None:
    async def enrol() -> tuple[Passkey, Passkey]:
        async with running(tmp_path) as bench:
            return await enrolled(bench, "jeff"), await enrolled(bench, "mia")

    jeff, mia = asyncio.run(enrol())
    home = ("--home", str(tmp_path))
    listed = invoke("server", "passkey", "list", *home, "--json").json["passkeys"]
    assert {(row["id"], row["username"]) for row in listed} == {(jeff.name, "jeff"), (mia.name, "mia")}
    assert listed[0]["attestation"] == "none"
    assert listed[0]["lastUsed"] is None
    done = invoke("server", "passkey", "revoke", *home, "--json", "--", jeff.name)
    assert done.json == {"id": jeff.name, "username": "jeff"}
    done = invoke("server", "passkey", "revoke", *home, "--", jeff.name)
    assert done.code == 1
    assert "no such FIDO2 credential" in done.err
    (row,) = invoke("server", "passkey", "list", "--user", "mia", *home, "--json").json["passkeys"]
    assert row["id"] == mia.name
    assert invoke("server", "passkey", "list", "--user", "jeff", *home, "--json").json["passkeys"] == []
    events = [entry["event"] for entry in invoke("server", "audit", *home, "--json").json["entries"]]
    assert "fido2-credential-revoked" in events


def test_old_sessions_are_removed_and_the_audit_trail_stays(tmp_path: Path) -> None:
    async def check() -> None:
        async with running(tmp_path) as bench:
            passkey = await enrolled(bench)
            options = await request_options(bench)
            assert (await log_in(bench, passkey)).status_code == 200
            bench.clock.advance(4000)
            await sessions.purge(bench.store, now=bench.clock(), keep_millis=3_600_000)
            gone = await bench.store.fetch_one(fido2_queries.SESSION, id=options["fido2SessionId"])
            assert gone is None
            assert (await log_in(bench, passkey)).status_code == 200

    asyncio.run(check())


@pytest.mark.sqlite_only
def test_a_challenge_does_not_live_again_after_a_restore(tmp_path: Path) -> None:
    home, other, file = tmp_path / "home", tmp_path / "other", tmp_path / "backup.tar.gz"
    home.mkdir()
    now = datetime.now(UTC)

    async def begin() -> tuple[str, Passkey]:
        async with running(home) as bench:
            passkey = await enrolled(bench)
            await creation_options(bench)
            options = await request_options(bench)
            (home / "fido2-metadata").mkdir()
            (home / "fido2-metadata" / "model.json").write_text("{}")
            settings = load_config(home, {"base_url": BASE})
            back_up(settings, file, with_tls_keys=False, at=now)
            return str(options["fido2SessionId"]), passkey

    session_id, passkey = asyncio.run(begin())
    asyncio.run(restore(other, file, force=False, at=now))

    assert (other / "fido2-metadata" / "model.json").read_text() == "{}"

    async def look() -> None:
        store = await open_store(f"sqlite:///{other / 'server.sqlite'}")
        session = await store.fetch_one(fido2_queries.SESSION, id=session_id)
        assert session is not None
        assert session.state == "failed"
        assert session.consumed_at is not None
        (kept,) = await store.fetch_all(fido2_queries.CREDENTIALS)
        assert kept.id == passkey.name
        await store.close()

    asyncio.run(look())
