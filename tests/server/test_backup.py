"""Backup beside a running server, and restore: all of it or nothing."""

import asyncio
import hashlib
import io
import json
import shutil
import sqlite3
import ssl
import stat
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fidoloop.server import admin
from fidoloop.server.archive import BackupError
from fidoloop.server.backup import back_up
from fidoloop.server.config import load_config
from fidoloop.server.restore import restore
from fidoloop.server.store.open import open_store
from tests.cli.command import Done, invoke
from tests.server.harness import REDEEM, UAF, write_metadata
from tests.server.phone import FULL_AAID, Phone, full_model
from tests.server.process import Running, started

BASE_URL = "https://localhost:8443"
NOW = datetime.now(UTC)


def server(*words: str, home: Path) -> Done:
    return invoke("server", *words, "--home", str(home))


async def populate(home: Path) -> str:
    """Make the user jeff and an API credential; return the latter."""
    store = await open_store(f"sqlite:///{home / 'server.sqlite'}")
    try:
        await admin.add_user(store, "jeff", now=1)
        return (await admin.add_api_key(store, "test", now=1)).bearer
    finally:
        await store.close()


def make_home(home: Path) -> str:
    home.mkdir()
    (home / "fidoloop.toml").write_text(f"[server]\nbase_url = '{BASE_URL}'\n")
    (home / "policies").mkdir()
    (home / "policies" / "mine.json").write_text(json.dumps({"accepted": [[{"aaid": [FULL_AAID]}]]}))
    (home / "phone").mkdir()
    (home / "phone" / "default.sqlite").write_text("the phone's own")
    write_metadata(home, MODEL)
    return asyncio.run(populate(home))


MODEL = full_model()


class Client:
    """Speaks to a server whose URL is another than where it listens."""

    def __init__(self, running: Running, bearer: str) -> None:
        context = ssl.create_default_context(cafile=running.ca)
        url = f"https://localhost:{running.port}/nevisfido"
        self.http = httpx2.Client(base_url=url, verify=context, timeout=60)
        self.api = {"authorization": f"Bearer {bearer}"}

    def request(self, name: str, op: str, context: dict[str, Any]) -> dict[str, Any]:
        wanted = {"op": op, "context": json.dumps(context)}
        answer = self.http.post(f"/uaf/1.1/request/{name}", json=wanted, headers=UAF | self.api).json()
        return dict(json.loads(answer["uafRequest"])[0])

    def respond(self, name: str, response: dict[str, Any]) -> int:
        body = {"uafResponse": json.dumps([response])}
        return int(self.http.post(f"/uaf/1.1/{name}", json=body, headers=UAF).json()["statusCode"])

    def token(self) -> str:
        body = {"op": "Auth", "context": "{}"}
        headers = {"content-type": "application/fido+uaf"} | self.api
        return str(self.http.post("/token/create/authentication", json=body, headers=headers).json()["token"])

    def redeem(self, token: str) -> int:
        answer = self.http.post("/token/redeem/authentication", json={"token": token}, headers=REDEEM)
        return int(answer.json()["statusCode"])

    def log_in(self, phone: Phone) -> int:
        request = self.request("authentication", "Auth", {"username": "jeff", "policy": "mine"})
        return self.respond("authentication", phone.authenticate(request))


def test_what_a_running_server_held_lives_on_in_another_home(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar.gz"
    bearer = make_home(old)
    phone = Phone(MODEL)
    with started(old) as running:
        client = Client(running, bearer)
        with closing(client.http):
            request = client.request("registration", "Reg", {"username": "jeff"})
            assert client.respond("registration", phone.register(request)) == 1200
            open_token, open_request = client.token(), client.request("authentication", "Auth", {})
            made = server("backup", str(file), "--with-tls-keys", "--json", home=old)
            assert made.code == 0, made.all
            # What comes later is not in it.
            assert client.log_in(phone) == 1200
        assert running.stop() == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(made.json["files"]) == {
        "server.sqlite",
        "fidoloop.toml",
        "policies/mine.json",
        "metadata/F1D0-0001.json",
        "tls/ca.pem",
        "tls/ca.key",
        "tls/server.pem",
        "tls/server.key",
        "tls/vapid.key",
        *(f"oauth/{path.name}" for path in (old / "oauth").iterdir()),
    }
    assert len(list((old / "oauth").glob("*.pem"))) == 2
    restored = server("restore", str(file), home=new)
    assert restored.code == 0, restored.all
    assert "what was revoked or disabled after" in restored.err
    for name in ("server.sqlite", "fidoloop.toml", "tls/server.key"):
        assert stat.S_IMODE((new / name).stat().st_mode) == 0o600
    with started(new) as running:
        client = Client(running, bearer)
        with closing(client.http):
            assert client.log_in(phone) == 1200
            # What was open when the backup was made may have been used since.
            assert client.redeem(open_token) == 1403
            assert client.respond("authentication", phone.authenticate(open_request)) == 1491
            assert client.redeem(client.token()) == 1200
        assert running.stop() == 0
    assert (new / "tls" / "ca.pem").read_bytes() == (old / "tls" / "ca.pem").read_bytes()
    assert sorted(path.name for path in new.iterdir()) == [
        "fidoloop.toml",
        "metadata",
        "oauth",
        "policies",
        "server.lock",
        "server.sqlite",
        "tls",
    ]
    entries = server("audit", "--json", home=new).json["entries"]
    assert "restored" in [entry["event"] for entry in entries]


def test_a_backup_is_the_state_between_two_transactions(tmp_path: Path) -> None:
    """Somebody writes pairs meanwhile: no backup has half of one."""
    make_home(tmp_path / "home")
    config = load_config(tmp_path / "home")
    stop = threading.Event()
    written = threading.Event()

    def write_pairs() -> None:
        with closing(sqlite3.connect(tmp_path / "home" / "server.sqlite", timeout=60)) as database:
            number = 0
            while not stop.is_set():
                with database:
                    for half in "ab":
                        row = (f"{half}-{number}", half * 2000)
                        database.execute("INSERT INTO api_key VALUES (?,?,'',1,NULL)", row)
                number += 1
                written.set()

    writer = threading.Thread(target=write_pairs)
    writer.start()
    counts = []
    try:
        assert written.wait(60)
        for number in range(5):
            file = tmp_path / f"{number}.tar.gz"
            back_up(config, file, with_tls_keys=False, at=NOW)
            counts.append(halves(file, tmp_path / f"{number}.sqlite"))
    finally:
        stop.set()
        writer.join()
    assert all(first == second > 0 for first, second in counts)


def halves(file: Path, into: Path) -> tuple[int, int]:
    with tarfile.open(file) as archive:
        database = archive.extractfile("server.sqlite")
        assert database is not None
        into.write_bytes(database.read())
    with closing(sqlite3.connect(into)) as copy:
        first, second = (
            copy.execute("SELECT COUNT(*) FROM api_key WHERE id LIKE ?", (f"{half}-%",)).fetchone()[0] for half in "ab"
        )
    return first, second


@pytest.fixture
def backup_file(tmp_path: Path) -> Path:
    make_home(tmp_path / "home")
    assert server("backup", str(tmp_path / "backup.tar.gz"), home=tmp_path / "home").code == 0
    return tmp_path / "backup.tar.gz"


def test_private_keys_are_in_it_only_if_asked_for(backup_file: Path) -> None:
    with tarfile.open(backup_file) as archive:
        assert not [name for name in archive.getnames() if name.startswith("tls")]


def test_a_file_that_is_there_is_not_overwritten(backup_file: Path, tmp_path: Path) -> None:
    before = backup_file.read_bytes()
    assert server("backup", str(backup_file), home=tmp_path / "home").code == 1
    assert backup_file.read_bytes() == before
    assert server("backup", str(backup_file), "--force", home=tmp_path / "home").code == 0
    # Nothing else is left beside it.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar.gz", "home"]


def test_there_must_be_something_to_back_up(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = server("backup", str(tmp_path / "b"), home=tmp_path / "empty")
    assert (done.code, "nothing to back up" in done.err) == (1, True)
    config = load_config(tmp_path / "empty", {"database": "postgresql://db/fido", "base_url": BASE_URL})
    with pytest.raises(BackupError, match="pg_dump"):
        back_up(config, tmp_path / "b", with_tls_keys=False, at=NOW)
    (tmp_path / "empty" / "server.sqlite").write_bytes(b"SQLite format 3\x00" + bytes(5000))
    assert server("backup", str(tmp_path / "b"), home=tmp_path / "empty").code == 1
    assert not (tmp_path / "b").exists()


Parts = dict[str, bytes]


def parts_of(file: Path) -> Parts:
    with tarfile.open(file) as archive:
        return {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in archive.getmembers()}


def pack(file: Path, parts: Parts, *, link: str | None = None) -> None:
    with tarfile.open(file, "w:gz") as archive:
        for name, data in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name == link:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            archive.addfile(member, io.BytesIO(data))


def with_manifest(parts: Parts, change: Callable[[dict[str, Any]], object]) -> Parts:
    manifest = json.loads(parts["manifest.json"])
    change(manifest)
    return parts | {"manifest.json": json.dumps(manifest).encode()}


def rename(manifest: dict[str, Any], name: str) -> None:
    manifest["files"][-1]["name"] = name


def without_database(parts: Parts) -> Parts:
    return {name: data for name, data in parts.items() if name != "server.sqlite"}


def on_postgresql(parts: Parts) -> Parts:
    settings = b"[server]\ndatabase = 'postgresql://db/fido'\n"
    digest = {"size": len(settings), "sha256": hashlib.sha256(settings).hexdigest()}

    def describe(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["files"] if entry["name"] == "fidoloop.toml").update(digest)

    return with_manifest(parts | {"fidoloop.toml": settings}, describe)


WRONG: dict[str, tuple[Callable[[Parts], Parts], str]] = {
    "no manifest": (lambda parts: {name: parts[name] for name in parts if name != "manifest.json"}, "does not begin"),
    "manifest last": (lambda parts: dict(reversed(parts.items())), "does not begin with manifest.json"),
    "manifest no JSON": (lambda parts: parts | {"manifest.json": b"{"}, "not JSON"),
    "manifest too large": (lambda parts: parts | {"manifest.json": bytes((1 << 22) + 1)}, "does not begin"),
    "another format": (lambda parts: with_manifest(parts, lambda m: m.update(format=2)), "of format 2"),
    "a newer schema": (lambda parts: with_manifest(parts, lambda m: m.update(schema=9999)), "newer than this one"),
    "another schema": (
        lambda parts: with_manifest(parts, lambda m: m.update(schema=1)),
        "not of the manifest's schema",
    ),
    "a path outside": (lambda parts: with_manifest(parts, lambda m: rename(m, "../evil.json")), "'../evil.json'"),
    "a path further down": (lambda parts: with_manifest(parts, lambda m: rename(m, "policies/a/b.json")), "a/b.json"),
    "another name": (lambda parts: with_manifest(parts, lambda m: rename(m, "phone/default.sqlite")), "default.sqlite"),
    "one name twice": (lambda parts: with_manifest(parts, lambda m: rename(m, "server.sqlite")), "'server.sqlite'"),
    "a database that is not named": (
        lambda parts: with_manifest(parts, lambda m: m["files"].pop(0)),
        "not in the manifest",
    ),
    "no database": (
        lambda parts: with_manifest(without_database(parts), lambda m: m["files"].pop(0)),
        "has no database, and its settings name no PostgreSQL",
    ),
    "a database that its settings do not want": (on_postgresql, "settings do not name"),
    "a file that is not named": (lambda parts: parts | {"policies/x.json": b"{}"}, "not in the manifest"),
    "a file missing": (lambda parts: {n: parts[n] for n in parts if n != "policies/mine.json"}, "mine.json is missing"),
    "a changed file": (lambda parts: parts | {"policies/mine.json": parts["policies/mine.json"][::-1]}, "is damaged"),
    "a changed database": (lambda parts: parts | {"server.sqlite": parts["server.sqlite"][::-1]}, "sqlite is damaged"),
    "a longer file": (lambda parts: parts | {"policies/mine.json": bytes(1 << 20)}, "has 1048576 bytes, the manifest"),
    "a shorter database": (lambda parts: parts | {"server.sqlite": parts["server.sqlite"][:-1]}, "the manifest says"),
}


def tree(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_backup_changes_nothing(backup_file: Path, tmp_path: Path, case: str) -> None:
    change, reason = WRONG[case]
    pack(backup_file, change(parts_of(backup_file)))
    before = tree(tmp_path / "home")
    done = server("restore", str(backup_file), "--force", home=tmp_path / "home")
    assert done.code == 1
    assert reason in done.err
    assert tree(tmp_path / "home") == before
    assert sorted(path.name for path in (tmp_path / "home").iterdir() if path.name.startswith(".")) == []


def test_neither_links_nor_half_a_file_nor_noise_are_restored(backup_file: Path, tmp_path: Path) -> None:
    whole = backup_file.read_bytes()
    parts = parts_of(backup_file)
    before = tree(tmp_path / "home")
    pack(backup_file, parts, link="policies/mine.json")
    assert "not in the manifest" in server("restore", str(backup_file), "--force", home=tmp_path / "home").err
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    checksum = whole[:-8] + bytes((whole[-8] ^ 1,)) + whole[-7:]
    for data in (whole[: len(whole) // 2], whole[:100], b"", b"noise" * 1000, bytes(flipped), checksum, whole[:-4]):
        backup_file.write_bytes(data)
        done = server("restore", str(backup_file), "--force", home=tmp_path / "home")
        assert done.code == 1, data[:10]
    assert server("restore", str(tmp_path / "none"), "--force", home=tmp_path / "home").code == 2
    assert tree(tmp_path / "home") == before


def test_a_state_that_is_there_is_put_aside_only_by_force(backup_file: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert server("user", "add", "later", home=home).code == 0
    (home / "policies" / "other.json").write_text("{}")
    done = server("restore", str(backup_file), home=home)
    assert (done.code, "has a state already" in done.err) == (1, True)
    done = server("restore", str(backup_file), "--force", "--json", home=home)
    assert done.code == 0, done.all
    users = server("user", "list", "--json", home=home).json["users"]
    assert [user["username"] for user in users] == ["jeff"]
    assert [path.name for path in (home / "policies").iterdir()] == ["mine.json"]
    assert (home / "phone" / "default.sqlite").read_text() == "the phone's own"
    replaced = Path(done.json["replaced"])
    assert replaced.parent == home
    with closing(sqlite3.connect(replaced / "server.sqlite")) as database:
        assert ("later",) in database.execute("SELECT username FROM account").fetchall()
    assert (replaced / "policies" / "other.json").exists()


def test_a_running_server_is_not_restored_over(backup_file: Path, tmp_path: Path) -> None:
    with started(tmp_path / "home", "--insecure") as running:
        done = server("restore", str(backup_file), "--force", home=tmp_path / "home")
        assert (done.code, "stop it first" in done.err) == (2, True)
        assert httpx2.get(f"http://127.0.0.1:{running.port}/healthz").status_code == 200
        assert running.stop() == 0
    assert server("restore", str(backup_file), "--force", home=tmp_path / "home").code == 0


@pytest.mark.parametrize("moves", range(9))
def test_an_interrupted_restore_is_seen_and_can_be_done_again(
    backup_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    """Wherever it stops after its one step that decides, nobody works on half a state."""
    home = tmp_path / "home"
    move, left = shutil.move, moves

    def failing(source: Path, target: Path) -> None:
        nonlocal left
        if left == 0:
            raise OSError(5, "Input/output error")
        left -= 1
        move(source, target)

    monkeypatch.setattr(shutil, "move", failing)
    try:
        asyncio.run(restore(home, backup_file, force=True, at=NOW))
    except OSError:
        assert server("user", "list", home=home).code == 2
        assert "a restore was interrupted" in server("config", home=home).err
    else:
        assert moves >= 8  # as many as there are
    monkeypatch.setattr(shutil, "move", move)
    assert server("restore", str(backup_file), "--force", home=home).code == 0
    users = server("user", "list", "--json", home=home).json["users"]
    assert [user["username"] for user in users] == ["jeff"]


def test_a_database_elsewhere_goes_where_the_configuration_says(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    make_home(home)
    elsewhere.mkdir()
    shutil.move(home / "server.sqlite", elsewhere / "fido.sqlite")
    text = f"[server]\nbase_url = '{BASE_URL}'\ndatabase = 'sqlite:///{elsewhere / 'fido.sqlite'}'\n"
    (home / "fidoloop.toml").write_text(text)
    file = tmp_path / "backup.tar.gz"
    assert server("backup", str(file), home=home).code == 0
    shutil.rmtree(home)
    assert server("restore", str(file), home=home).code == 1  # the database is there
    (elsewhere / "fido.sqlite").unlink()
    assert server("restore", str(file), home=home).code == 0
    assert (elsewhere / "fido.sqlite").exists()
    assert not (home / "server.sqlite").exists()
