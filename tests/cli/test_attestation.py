"""`fidoloop keys attest-init` and `keys metadata`: what a token becomes, and what a server is told of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from fidoloop.cli.exits import Exit
from fidoloop.hsm.uri import parse_uri
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.protocol.uaf.registry import AttestationType
from tests.cli.command import Done, invoke
from tests.lab import SOFTHSM_PIN


@pytest.fixture
def uri(fidoloop_make_token: Callable[[], str]) -> str:
    """A bare token, its PIN elsewhere."""
    return parse_uri(fidoloop_make_token()).without_pin()


def keys(*arguments: str, pin: str | None = SOFTHSM_PIN) -> Done:
    done = invoke("keys", *arguments, pin=pin)
    assert SOFTHSM_PIN not in done.all
    assert "\x1b" not in done.all
    return done


def statements(directory: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))}


def test_an_attestation_key_is_made_once(uri: str, tmp_path: Path) -> None:
    first = keys("attest-init", uri, "--json").json
    root = x509.load_pem_x509_certificate(first["root"].encode())
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    again = keys("attest-init", uri, "--metadata", str(tmp_path / "new" / "md"), "--json").json
    assert again["root"] == first["root"]
    assert sorted(again["metadata"]) == sorted(str(path) for path in (tmp_path / "new" / "md").iterdir())
    listed = keys("list", uri, "--json").json["keys"]
    assert {bytes.fromhex(key["id"]) for key in listed} == {b"fidoloop:attestation", b"fidoloop:attestation-ca"}
    assert all(key["usage"] == ["sign"] and key["never_extractable"] for key in listed)
    shown = keys("attest-init", uri).out
    assert root.subject.rfc4514_string() in shown
    shown = keys("attest-init", uri, "--metadata", str(tmp_path / "shown")).out
    assert f"metadata statements of {len(statements(tmp_path / 'shown'))} models" in shown
    assert len(shown.splitlines()) == 2, "dozens of models are not dozens of lines"
    described = keys("info", uri, "--id", b"fidoloop:attestation".hex(), "--json").json
    x509.load_pem_x509_certificate(described["certificate"].encode()).verify_directly_issued_by(root)


@pytest.mark.parametrize(("verification", "digit"), [("pin", "1"), ("prompt", "2"), ("auto", "3")])
def test_metadata_says_what_a_phone_with_this_token_is(uri: str, tmp_path: Path, verification: str, digit: str) -> None:
    keys("metadata", uri, "--out", str(tmp_path / "before"), "--uv", verification)
    bare = statements(tmp_path / "before")
    assert {f"F10B-019{digit}", f"F10B-01A{digit}"} <= set(bare)
    surrogate = [int(AttestationType.BASIC_SURROGATE)]
    assert all(statement["attestationTypes"] == surrogate for statement in bare.values()), "no key to attest with"
    assert all(statement["attestationRootCertificates"] == [] for statement in bare.values())

    initialised = keys("attest-init", uri, "--metadata", str(tmp_path / "after"), "--uv", verification, "--json").json
    full = statements(tmp_path / "after")
    assert {f"F10B-01{kind}{digit}" for kind in "129A"} <= set(full)
    assert len(full) == 2 * len(bare)
    root = "".join(initialised["root"].splitlines()[1:-1])
    assert full[f"F10B-011{digit}"]["attestationRootCertificates"] == [root]
    for name, statement in full.items():
        assert statement["aaid"] == name.replace("-", "#")
        assert statement["keyProtection"] & 1, "SoftHSM claims SOFTWARE"
        parse_metadata(json.dumps(statement).encode())


def test_exported_metadata_is_taken_by_the_server(uri: str, tmp_path: Path) -> None:
    keys("attest-init", uri, "--metadata", str(tmp_path / "md"))
    paths = sorted((tmp_path / "md").iterdir())
    added = invoke("server", "metadata", "add", *map(str, paths), "--home", str(tmp_path / "home"), "--json")
    assert added.code == Exit.OK, added.all
    assert added.json["aaids"] == [path.stem.replace("-", "#") for path in paths]


def test_metadata_of_a_fido2_card_is_taken_by_the_server(uri: str, tmp_path: Path) -> None:
    keys("attest-init", uri)
    paths = keys("metadata", uri, "--fido-card", "--out", str(tmp_path / "md"), "--json").json["metadata"]
    home = ("--home", str(tmp_path / "home"))
    added = invoke("server", "metadata", "add", *paths, *home, "--json")
    assert added.code == Exit.OK, added.all
    assert added.json["fido2"] == [Path(path).stem.replace("-", "") for path in paths]
    rows = invoke("server", "metadata", "list", "--fido2", *home, "--json").json["models"]
    assert [row["description"] for row in rows] == [
        "fidoloop FIDO2 card, softhsm, token PIN",
        "fidoloop FIDO2 card, softhsm, presence",
    ]


def test_metadata_lands_in_the_present_directory_unless_told_otherwise(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = keys("metadata", uri, "--json")
    assert sorted(done.json["metadata"]) == sorted(path.name for path in tmp_path.iterdir())


def test_what_cannot_be_done_is_said(uri: str, tmp_path: Path) -> None:
    for command in ("attest-init", "metadata"):
        assert keys(command, uri, pin=None).code == Exit.DEVICE
        assert keys(command, "nonsense").code == Exit.USAGE
        assert keys(command).code == Exit.USAGE
    assert keys("attest-init", uri, "--uv", "hope").code == Exit.USAGE
    (tmp_path / "file").write_text("")
    blocked = keys("metadata", uri, "--out", str(tmp_path / "file"))
    assert (blocked.code, "file" in blocked.err) == (Exit.USAGE, True)
