"""The metadata service's BLOB: verified, its UAF entries taken up in one step by a running server, no older one."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from fidoloop.protocol import base64url
from tests.cli.command import Done, invoke
from tests.protocol.builders import statement
from tests.protocol.uaf.test_metadata_names import MDS3
from tests.protocol.webauthn.builders import AAGUID, model_entry
from tests.server.certificates import Authority
from tests.server.harness import UAF, running
from tests.server.phone import FULL_AAID, Model, Phone, full_model, raw_signature

SIGNER = "mds.fidoalliance.org"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
FIDO2 = {"aaguid": "a" * 32, "metadataStatement": {"protocolFamily": "fido2"}, "statusReports": []}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def entry(model: Model, *statuses: str, **changes: object) -> dict[str, Any]:
    reports = [{"status": status, "effectiveDate": "2020-01-01"} for status in statuses]
    return {"aaid": model.aaid, "metadataStatement": model.metadata(**changes), "statusReports": reports}


def in_names(aaid: str) -> dict[str, Any]:
    """An entry as the metadata service has it now."""
    return {"aaid": aaid, "metadataStatement": statement(aaid=aaid, **MDS3), "statusReports": []}


def blob(
    authority: Authority, *entries: dict[str, Any], no: int = 7, until: str = TOMORROW, host: str = SIGNER
) -> Path:
    files = authority.issue("signer", hosts=(host,))
    key = load_pem_private_key(files.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    chain = [base64.b64encode(files.leaf.public_bytes(Encoding.DER)).decode()]
    payload = {"legalHeader": "", "no": no, "nextUpdate": until, "entries": entries}
    signed = ".".join(base64url.encode(json.dumps(part).encode()) for part in ({"alg": "ES256", "x5c": chain}, payload))
    path = authority.directory / "blob.jwt"
    path.write_text(f"{signed}.{base64url.encode(raw_signature(key, signed.encode()))}\n")
    return path


def imported(authority: Authority, path: Path, *more: str, root: Path | None = None) -> Done:
    home = str(authority.directory / "home")
    return invoke(
        "server", "metadata", "import", str(path), "--root", str(root or authority.pem), "--home", home, "--json", *more
    )


def kept(authority: Authority) -> dict[str, Any]:
    home = str(authority.directory / "home")
    models = invoke("server", "metadata", "list", "--home", home, "--json").json["models"]
    return {model["aaid"]: model for model in models}


def digest(authority: Authority) -> str:
    return hashlib.sha256((authority.directory / "home/metadata/metadata-service.json").read_bytes()).hexdigest()


def test_uaf_entries_are_taken_and_those_that_cannot_be_used_told(authority: Authority) -> None:
    wrong = entry(full_model("ABCD#0002"), attestationTypes=[])
    path = blob(
        authority, entry(full_model()), FIDO2, in_names("ABCD#0001"), wrong, entry(full_model("0000#0001"), "REVOKED")
    )
    done = imported(authority, path)
    assert done.code == 0, done.all
    assert {name: done.json[name] for name in ("no", "nextUpdate", "overdue")} == {
        "no": 7,
        "nextUpdate": TOMORROW,
        "overdue": False,
    }
    assert done.json["added"] == ["0000#0001", "ABCD#0001", FULL_AAID]
    assert (done.json["replaced"], done.json["removed"]) == ([], [])
    (skipped,) = done.json["skipped"]
    assert skipped["aaid"] == "ABCD#0002"
    assert "attestationTypes" in skipped["reason"]
    models = kept(authority)
    assert {aaid: model["refused"] for aaid, model in models.items()} == {
        "0000#0001": "REVOKED",
        "ABCD#0001": None,
        FULL_AAID: None,
    }
    assert {model["origin"] for model in models.values()} == {"metadata service"}
    words = invoke(
        "server", "metadata", "import", str(path), "--root", str(authority.pem), "--home", str(path.parent / "home")
    ).out
    assert "replaced ABCD#0001" in words
    assert "skipped ABCD#0002: $.payload.entries[3]" in words
    assert "FIDO2 and U2F: 0 models" in words
    assert f"skipped {'a' * 32}: $.payload.entries[0]" in words


def test_fido2_entries_are_taken_up_beside_those_of_uaf(authority: Authority, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    done = imported(authority, blob(authority, model_entry("REVOKED"), entry(full_model()), FIDO2))
    assert done.json["fido2"]["models"] == 1
    assert [skipped["name"] for skipped in done.json["fido2"]["skipped"]] == ["a" * 32]

    def models() -> dict[str, dict[str, Any]]:
        listed = invoke("server", "metadata", "list", "--fido2", "--home", home, "--json").json["models"]
        return {model["name"]: model for model in listed}

    name = AAGUID.hex()
    assert models() == {
        name: {"name": name, "description": "a model", "refused": "REVOKED", "origin": "metadata service"}
    }
    assert list(kept(authority)) == [FULL_AAID]
    # What the operator adds himself goes before.
    own = tmp_path / "own.json"
    own.write_text(json.dumps(model_entry(description="mine")))
    assert invoke("server", "metadata", "add", str(own), "--home", home, "--json").json == {
        "aaids": [],
        "fido2": [name],
    }
    assert models()[name] | {"refused": None, "description": "mine"} == models()[name]
    own.write_text(json.dumps(model_entry(attestationRootCertificates=["AAAA"])))
    assert invoke("server", "metadata", "add", str(own), "--home", home).code == 2
    assert models()[name]["description"] == "mine"
    assert imported(authority, blob(authority, entry(full_model()), no=8)).json["fido2"]["models"] == 0
    assert list(models()) == [name]


def test_a_newer_blob_replaces_all_and_an_older_one_nothing(authority: Authority) -> None:
    assert imported(authority, blob(authority, entry(full_model()), in_names("ABCD#0001"))).code == 0
    done = imported(authority, blob(authority, in_names("ABCD#0001"), in_names("ABCD#0003"), no=8))
    assert (done.json["added"], done.json["replaced"], done.json["removed"]) == (
        ["ABCD#0003"],
        ["ABCD#0001"],
        [FULL_AAID],
    )
    before = digest(authority)
    done = imported(authority, blob(authority, entry(full_model()), no=7))
    assert done.code == 1
    assert "7 is older than 8" in done.err
    assert digest(authority) == before
    # The same number may come again.
    assert imported(authority, blob(authority, in_names("ABCD#0003"), no=8)).code == 0
    assert list(kept(authority)) == ["ABCD#0003"]


def test_what_does_not_verify_changes_nothing(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    good = blob(authority, entry(full_model()))
    changed = tmp_path / "changed.jwt"
    changed.write_text(good.read_text()[:-8] + "AAAAAAA\n")
    elsewhere = blob(other, entry(full_model()))
    refusals = {
        "another root": imported(authority, elsewhere),
        "a changed signature": imported(authority, changed),
        "no BLOB": imported(authority, authority.pem),
        "another signer": imported(authority, blob(authority, entry(full_model()), host="other.example")),
    }
    assert {name: done.code for name, done in refusals.items()} == dict.fromkeys(refusals, 1)
    assert not (tmp_path / "home").exists()
    files = {
        "no file": imported(authority, tmp_path / "none.jwt"),
        "no root": imported(authority, good, root=tmp_path / "none.pem"),
        "a root that is none": imported(authority, good, root=good),
    }
    assert {name: done.code for name, done in files.items()} == dict.fromkeys(files, 2)
    assert imported(authority, blob(authority, entry(full_model()), host="other.example"), "--signer", "").code == 0


def test_a_blob_that_should_have_been_replaced_is_taken_with_a_warning(authority: Authority) -> None:
    done = imported(authority, blob(authority, entry(full_model()), until="2020-01-01"))
    assert (done.code, done.json["overdue"]) == (0, True)
    assert "may lack revocations" in done.err


def test_an_operators_statement_goes_before_the_services(authority: Authority) -> None:
    own = authority.directory / "own.json"
    own.write_text(json.dumps(full_model().metadata(description="mine")))
    assert imported(authority, blob(authority, entry(full_model(), description="theirs"))).code == 0
    assert kept(authority)[FULL_AAID]["description"] == "theirs"
    home = str(authority.directory / "home")
    assert invoke("server", "metadata", "add", str(own), "--home", home).code == 0
    found = kept(authority)[FULL_AAID]
    assert (found["description"], found["origin"]) == ("mine", "F1D0-0001.json")


def test_a_server_that_runs_follows_what_was_imported(authority: Authority) -> None:
    async def scenario() -> None:
        model = full_model()
        home = authority.directory / "home"
        async with running(home) as bench:
            # Known by the metadata service alone.
            for path in (home / "metadata").glob("*.json"):
                path.unlink()

            async def register() -> int:
                bench.clock.advance(1)
                request = await bench.uaf_request("Reg", {"username": "jeff"})
                body = {"uafResponse": json.dumps([Phone(model).register(request)])}
                return int((await bench.post("/uaf/1.1/registration", body, UAF)).json()["statusCode"])

            assert await register() == 1480
            assert imported(authority, blob(authority, entry(model))).code == 0
            assert await register() == 1200
            assert imported(authority, blob(authority, entry(model, "REVOKED"), no=8)).code == 0
            assert await register() == 1493
            assert imported(authority, blob(authority, no=9)).code == 0
            assert await register() == 1480

    asyncio.run(scenario())
