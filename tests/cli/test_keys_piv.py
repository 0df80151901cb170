"""`fidoloop keys` on a virtual PIV card."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.cli.exits import Exit
from fidoloop.hsm.open import open_key_store
from fidoloop.lab_card import MANAGEMENT_KEY, PIN, PUK, LabCard
from tests.cli.command import Done, invoke, run

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def uri(fidoloop_card: LabCard, tmp_path: Path) -> str:
    """The card, with its management key in a file and no PIN."""
    file = tmp_path / "management-key"
    file.write_text(MANAGEMENT_KEY + "\n")
    return f"{fidoloop_card.uri}?management-key-source={file}"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("FIDOLOOP_PUK", "FIDOLOOP_NEW_PIN", "FIDOLOOP_MANAGEMENT_KEY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def keys(*arguments: str, pin: str | None = PIN) -> Done:
    done = invoke("keys", *arguments, pin=pin)
    for secret in (PIN, PUK, MANAGEMENT_KEY):
        assert secret not in done.all
    return done


def test_a_key_is_made_in_a_slot_listed_with_it_and_destroyed(uri: str) -> None:
    made = keys("generate", uri, "--place", "9A", "--id", "0a", "--label", "serves alice", "--json").json
    assert (made["place"], made["local"], made["sensitive"]) == ("9a", True, True)
    assert "in slot 82" in keys("generate", uri).out
    listed = keys("list", uri).out
    assert "place" in listed
    assert "serves alice" in listed
    assert [key["place"] for key in keys("list", uri, "--json").json["keys"] if key["id"] == "0a"] == ["9a"]
    assert keys("delete", uri, "--id", "0a", "--yes").code == Exit.OK
    assert "9a" not in [key["place"] for key in keys("list", uri, "--json").json["keys"]]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--place", "9b"), Exit.DEVICE, "9a, 9c, 9d, 9e and 82 to 95"),
        (("--label", "x" * 65), Exit.DEVICE, "64 characters"),
        (("--algorithm", "rsa2048", "--usage", "derive"), Exit.DEVICE, "cannot be for DERIVE"),
    ],
)
def test_what_a_card_cannot_do_is_told(uri: str, arguments: tuple[str, ...], code: Exit, said: str) -> None:
    done = keys("generate", uri, *arguments)
    assert done.code == code
    assert said in done.err


def test_a_full_card_is_a_device_error(uri: str) -> None:
    assert keys("generate", uri, "--place", "82").code == Exit.OK
    done = keys("generate", uri, "--place", "82", "--json")
    assert done.code == Exit.DEVICE
    assert "is taken" in done.err


def test_without_the_management_key_nothing_is_made(fidoloop_card: LabCard, secrets: pytest.MonkeyPatch) -> None:
    done = keys("generate", fidoloop_card.uri)
    assert done.code == Exit.DEVICE
    assert "management-key-source" in done.err
    secrets.setenv("FIDOLOOP_MANAGEMENT_KEY", MANAGEMENT_KEY)
    assert keys("generate", fidoloop_card.uri).code == Exit.OK
    secrets.setenv("FIDOLOOP_MANAGEMENT_KEY", "00" * 24)
    assert "refused the management key" in keys("generate", fidoloop_card.uri).err


def test_a_certificate_goes_in_and_comes_out(uri: str, tmp_path: Path) -> None:
    assert keys("generate", uri, "--id", "0a").code == Exit.OK
    none = keys("certificate", uri, "--id", "0a", "--json")
    assert (none.code, none.json) == (Exit.REFUSED, {"certificate": None})
    with open_key_store(uri, pin=PIN) as store:
        key = store.key(b"\n")
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "[red]alice")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + datetime.timedelta(days=1))
        certificate = builder.sign(key, hashes.SHA256())
    pem, der = tmp_path / "a.pem", tmp_path / "a.der"
    pem.write_bytes(certificate.public_bytes(Encoding.PEM))
    der.write_bytes(certificate.public_bytes(Encoding.DER))
    for file in (der, pem):
        put = keys("certificate", uri, "--id", "0a", "--put", str(file))
        assert put.code == Exit.OK, put.err
        assert x509.load_pem_x509_certificate(put.out.encode()) == certificate
    assert keys("certificate", uri, "--id", "0a", "--json").json["certificate"] == pem.read_text()
    assert "[red]alice" in keys("list", uri).out


def test_certificates_that_do_not_belong_are_refused(uri: str, tmp_path: Path) -> None:
    assert keys("generate", uri, "--id", "0a").code == Exit.OK
    other = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, other.public_key(), 7, NOW, NOW + datetime.timedelta(days=1))
    foreign, broken, odd = tmp_path / "foreign", tmp_path / "broken", tmp_path / "odd"
    foreign.write_bytes(builder.sign(other, hashes.SHA256()).public_bytes(Encoding.DER))
    # Version 9, which is found when the certificate is read.
    odd.write_bytes(foreign.read_bytes().replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", 1))
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for file, said in ((foreign, "not for the key"), (broken, "no certificate"), (odd, "no certificate")):
        done = keys("certificate", uri, "--id", "0a", "--put", str(file))
        assert done.code == Exit.USAGE
        assert said in done.err
    gone = keys("certificate", uri, "--id", "0b")
    assert gone.code == Exit.DEVICE
    assert "no key with id 0b" in gone.err


def test_a_locked_pin_is_unblocked_and_changed(fidoloop_card: LabCard, uri: str, secrets: pytest.MonkeyPatch) -> None:
    for pin in ("000000", "000001", "000002"):
        assert keys("list", uri, pin=pin).code == Exit.DEVICE
    assert "keys unblock" in keys("list", uri).err
    secrets.setenv("FIDOLOOP_NEW_PIN", "192837")
    nobody = run("keys", "unblock", fidoloop_card.uri)
    assert nobody.code == Exit.DEVICE
    assert "FIDOLOOP_PUK" in nobody.err
    secrets.setenv("FIDOLOOP_PUK", PUK)
    assert keys("unblock", fidoloop_card.uri, "--json").json == {"unblocked": "pin"}
    assert keys("list", uri, pin="192837").code == Exit.OK
    secrets.setenv("FIDOLOOP_NEW_PIN", "918273")
    assert keys("change-pin", fidoloop_card.uri, pin="192837").code == Exit.OK
    assert keys("list", uri, pin="918273").code == Exit.OK
    secrets.setenv("FIDOLOOP_PUK", "00000000")
    wrong = keys("unblock", fidoloop_card.uri)
    assert wrong.code == Exit.DEVICE
    assert "tries left: 2" in wrong.err


def test_pins_of_pkcs11_tokens_are_not_changed_here(secrets: pytest.MonkeyPatch) -> None:
    secrets.setenv("FIDOLOOP_PUK", PUK)
    secrets.setenv("FIDOLOOP_NEW_PIN", "192837")
    for command in ("unblock", "change-pin"):
        done = keys(command, "pkcs11:token=x")
        assert done.code == Exit.DEVICE
        assert "PIV cards" in done.err


def test_a_missing_reader_and_a_misspelled_uri(fidoloop_card: LabCard) -> None:
    absent = keys("list", "piv:reader=Yubico")
    assert absent.code == Exit.DEVICE
    assert fidoloop_card.reader in absent.err
    assert keys("list", "piv:raeder=x").code == Exit.USAGE
