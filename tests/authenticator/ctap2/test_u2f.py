"""CTAP1/U2F (CTAP 2.1, section 7; U2F raw messages 1.2)."""

import struct
from typing import Any

import pytest
from cryptography import x509
from fido2.ctap1 import ApduError, Ctap1
from fido2.hid import CTAPHID

from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.hsm.keystore import KeyStore
from tests.authenticator.ctap2.lab import HASH, RP_ID, Lab, LabMaker, credential_id, public_key

APPLICATION, CHALLENGE = bytes(range(32)), bytes(range(32, 64))


def refused(word: int, call: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
    with pytest.raises(ApduError) as caught:
        call(*arguments, **named)
    assert caught.value.code == word


@pytest.fixture
def u2f(lab: Lab) -> Ctap1:
    return Ctap1(lab.device)


@pytest.mark.parametrize("token", ["store", "bare_store"])
def test_register_and_authenticate(make_lab: LabMaker, request: pytest.FixtureRequest, token: str) -> None:
    store: KeyStore = request.getfixturevalue(token)
    u2f = Ctap1(make_lab(token=store).device)
    assert u2f.get_version() == "U2F_V2"
    registered = u2f.register(CHALLENGE, APPLICATION)
    registered.verify(APPLICATION, CHALLENGE)
    x509.load_der_x509_certificate(registered.certificate)
    first, second = (u2f.authenticate(CHALLENGE, APPLICATION, registered.key_handle) for _ in range(2))
    for signed in (first, second):
        signed.verify(APPLICATION, CHALLENGE, registered.public_key)
        assert signed.user_presence == 1
    assert first.counter < second.counter


def test_both_protocols_use_each_others_credentials(lab: Lab, u2f: Ctap1) -> None:
    registered = u2f.register(CHALLENGE, lab.make().auth_data.rp_id_hash)
    found = lab.ctap.get_assertion(RP_ID, HASH, [{"type": "public-key", "id": registered.key_handle}])
    assert found.user is None
    made = lab.make()
    point = b"\x04" + public_key(made)[-2] + public_key(made)[-3]
    signed = u2f.authenticate(CHALLENGE, made.auth_data.rp_id_hash, credential_id(made))
    signed.verify(made.auth_data.rp_id_hash, CHALLENGE, point)


def test_u2f_uses_no_credential_that_wants_verification_or_another_algorithm(lab: Lab, u2f: Ctap1) -> None:
    protected = lab.make(extensions={"credProtect": 3})
    other = lab.make(key_params=[{"type": "public-key", "alg": -35}])
    for made in (protected, other):
        refused(0x6A80, u2f.authenticate, CHALLENGE, made.auth_data.rp_id_hash, credential_id(made))


def test_check_only_tells_whose_a_handle_is(lab: Lab, u2f: Ctap1) -> None:
    handle = u2f.register(CHALLENGE, APPLICATION).key_handle
    asked = lab.asked
    refused(0x6985, u2f.authenticate, CHALLENGE, APPLICATION, handle, check_only=True)
    refused(0x6A80, u2f.authenticate, CHALLENGE, APPLICATION[::-1], handle, check_only=True)
    refused(0x6A80, u2f.authenticate, CHALLENGE, APPLICATION, handle[:-1])
    refused(0x6A80, u2f.authenticate, CHALLENGE, APPLICATION, bytes(len(handle)))
    assert lab.asked == asked


def test_without_presence_where_it_is_not_enforced(lab: Lab, u2f: Ctap1) -> None:
    registered = u2f.register(CHALLENGE, APPLICATION)
    asked = lab.asked
    data = CHALLENGE + APPLICATION + bytes((len(registered.key_handle),)) + registered.key_handle
    answer = u2f.send_apdu(ins=2, p1=8, data=data)
    assert answer[0] == 0
    assert lab.asked == asked


def test_whoever_is_not_present_gets_conditions_not_satisfied(lab: Lab, u2f: Ctap1) -> None:
    handle = u2f.register(CHALLENGE, APPLICATION).key_handle
    keys = lab.keys()
    lab.user.answer = AuthenticatorError(CommandStatus.USER_NOT_RESPONSIVE, "nobody")
    refused(0x6985, u2f.register, CHALLENGE, APPLICATION)
    refused(0x6985, u2f.authenticate, CHALLENGE, APPLICATION, handle)
    assert lab.keys() == keys


def test_under_always_uv_there_is_no_u2f(lab: Lab, u2f: Ctap1) -> None:
    handle = u2f.register(CHALLENGE, APPLICATION).key_handle
    lab.config().toggle_always_uv()
    refused(0x6986, u2f.register, CHALLENGE, APPLICATION)
    refused(0x6986, u2f.authenticate, CHALLENGE, APPLICATION, handle)


@pytest.mark.parametrize(
    ("apdu", "word"),
    [
        ("00040000", 0x6D00),
        ("00000000", 0x6D00),
        ("01030000", 0x6E00),
        ("80030000", 0x6E00),
        ("000300000000000000", 0x9000),
        ("00030000000000", 0x9000),
        ("00030000", 0x9000),
        ("0003000001aa", 0x6700),
        ("00010000", 0x6700),
        ("000100000000000000", 0x6700),
        ("00010000000040" + "00" * 63, 0x6700),
        ("00010000" + "3f" + "00" * 63, 0x6700),
        ("00010000" + "41" + "00" * 65, 0x6700),
        ("00020300" + "40" + "00" * 64, 0x6700),
        ("00020300" + "42" + "00" * 64 + "0200", 0x6700),
        ("00020300" + "41" + "00" * 65, 0x6A80),
        ("00020900" + "41" + "00" * 65, 0x6A86),
        ("0001", 0x6700),
        ("", 0x6700),
    ],
)
def test_raw_messages(lab: Lab, apdu: str, word: int) -> None:
    answer = lab.device.call(CTAPHID.MSG, bytes.fromhex(apdu))
    assert struct.unpack(">H", answer[-2:]) == (word,)


def test_another_command_ends_an_enumeration(lab: Lab, u2f: Ctap1) -> None:
    from fido2.ctap import CtapError

    for _ in range(2):
        lab.resident()
    lab.get()
    u2f.register(CHALLENGE, APPLICATION)
    with pytest.raises(CtapError, match="NOT_ALLOWED"):
        lab.ctap.get_next_assertion()
