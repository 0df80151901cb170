"""CTAP2 commands in CBOR, one after the other, to one authenticator."""

import hashlib
from collections.abc import Iterator
from functools import cache

from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.user_verification import VerificationRequest
from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.ctap.canonical_cbor import CborError, decode, encode
from fidoloop.protocol.uaf.registry import UserVerification
from fuzz.properties import accepted, scratch
from fuzz.software_keys import SoftwareKeys

MAX_BYTES = 4096
_HASH = bytes(32)
DICTIONARY = (
    b"proof of a token", b"\x00\x01\xff",
    b"\x01", b"\x02", b"\x06", b"\x08", b"\x0a", b"\x0c", b"\x0d", b"bid", b"dname", b"dtype", b"calg\x26",
    b"jpublic-key", b"brk\xf5", b"buv\xf5", b"bup\xf5", b"\x58\x20" + _HASH, b"hcredBlob", b"kcredProtect",
    b"khmac-secret", b"lminPinLength\xf5", b"llargeBlobKey\xf5", b"\xa1", b"\x81", b"\xf4", b"\xf6", b"\x3b",
)  # fmt: skip
_STATUSES = {int(code) for code in CtapError.ERR} | {0}
_RESET = b"\x07"
VERIFIED = b"\xff"
"""Stands for the user's verification, where a command could."""
PROOF = b"proof of a token"
_EVERYTHING = Permission(0x3F)
_MAX_COMMANDS = 8


class User:
    """One who always agrees."""

    method = UserVerification.PRESENCE

    def verify(self, request: VerificationRequest) -> UserVerification:
        """Agree."""
        return self.method

    def choose(self, usernames: object) -> int:
        """Take the first."""
        return 0


@cache
def authenticator() -> Authenticator:
    """Return an authenticator whose clock stands still, so that it may always be reset."""
    store = SoftwareKeys()
    return Authenticator(store, Ctap2State(scratch() / "ctap.sqlite", store), User(), clock=lambda: 0.0)


def check(data: bytes) -> None:
    """CBOR is written back to the same bytes; commands (length of two bytes, command) are answered as CTAP2 says."""
    item = accepted(lambda: decode(data), CborError)
    if item is not None and _is_writable(item):
        assert encode(item) == data
    device = authenticator()
    assert device.process(_RESET) == b"\0"
    for message in commands(data):
        if message == VERIFIED:
            _verify_user(device)
            continue
        answer = device.process(message)
        assert answer[0] in _STATUSES, f"status {answer[0]:02x}"
        assert answer[0] != CtapError.ERR.OTHER, "an error that nobody names"
        if len(answer) > 1:
            assert answer[0] == 0
            assert isinstance(decode(answer[1:]), dict)


def _verify_user(device: Authenticator) -> None:
    """Give a token with every permission, which PROOF is taken as a proof of: no fuzzer finds a MAC."""
    token = device.core.token
    token.begin(device.core.protocols[2].protocol, _EVERYTHING, None, user_present=True)
    by_mac = token.verify

    def verify(version: int, message: bytes, parameter: bytes) -> bool:
        return parameter == PROOF or by_mac(version, message, parameter)

    vars(token)["verify"] = verify


def commands(data: bytes) -> Iterator[bytes]:
    """Yield the commands in `data`, each after its length in two bytes."""
    for _ in range(_MAX_COMMANDS):
        if len(data) < 3:
            return
        end = 2 + int.from_bytes(data[:2])
        yield data[2:end]
        data = data[end:]


def _is_writable(item: object) -> bool:
    if isinstance(item, dict):
        return all(_is_writable(part) for pair in item.items() for part in pair)
    if isinstance(item, list):
        return all(_is_writable(part) for part in item)
    return isinstance(item, int | str | bytes)


def script(*messages: bytes) -> bytes:
    """Return commands one after the other, as `check` reads them."""
    return b"".join(len(message).to_bytes(2) + message for message in messages)


def make_credential(**changes: object) -> bytes:
    """Return a makeCredential command; options or extensions may be given."""
    names = {"extensions": 6, "options": 7, "exclude": 5, "proof": 8, "protocol": 9}
    return b"\x01" + encode(
        {
            1: _HASH,
            2: {"id": "rp.example", "name": "A"},
            3: {"id": b"user", "name": "alice", "displayName": "Alice"},
            4: [{"alg": -7, "type": "public-key"}],
            **{names[name]: value for name, value in changes.items()},
        }
    )


def seeds() -> Iterator[bytes]:
    """Yield commands of every kind, alone and after others."""
    get = b"\x02" + encode({1: "rp.example", 2: _HASH})
    resident = make_credential(options={"rk": True}, extensions={"credProtect": 2, "hmac-secret": True})
    yield canonical_cbor.encode({1: [1, b"x", "y"], "a": {2: True}})
    yield script(b"\x04")
    yield script(make_credential())
    yield script(resident, resident, get, b"\x08")
    yield script(make_credential(extensions={"credBlob": b"blob", "minPinLength": True, "largeBlobKey": True}))
    listed = encode({1: "rp.example", 2: _HASH, 3: [{"id": bytes(64), "type": "public-key"}], 5: {"up": False}})
    yield script(b"\x02" + listed)
    for subcommand in range(1, 10):
        point = {1: 2, 3: -25, -1: 1, -2: bytes(32), -3: bytes(32)}
        yield script(b"\x06" + encode({1: 2, 2: subcommand, 3: point, 4: bytes(32), 5: bytes(64), 6: bytes(32), 9: 1}))
        yield script(b"\x0a" + encode({1: subcommand, 2: {1: _HASH}, 3: 2, 4: bytes(32)}))
        yield script(b"\x0d" + encode({1: subcommand, 2: {1: 4, 2: ["rp.example"]}, 3: 2, 4: bytes(32)}))
    yield script(b"\x0c" + encode({1: 960, 3: 0}), b"\x0c" + encode({2: bytes(17), 3: 0, 4: 17}))
    yield script(b"\x0b")
    proof = {3: 2, 4: PROOF}
    yield script(VERIFIED, make_credential(options={"rk": True}, proof=PROOF, protocol=2))
    yield script(resident, VERIFIED, *(b"\x0a" + encode({1: number, **proof}) for number in (1, 2, 3)))
    rp = {1: hashlib.sha256(b"rp.example").digest()}
    yield script(resident, resident, VERIFIED, b"\x0a" + encode({1: 4, 2: rp, **proof}), b"\x0a" + encode({1: 5}))
    user = {2: {"id": bytes(64), "type": "public-key"}, 3: {"id": b"user", "name": "bob"}}
    for number in (6, 7):
        yield script(resident, VERIFIED, b"\x0a" + encode({1: number, 2: user, **proof}))
    for number, parameters in ((1, {}), (2, {}), (3, {1: 6, 2: ["rp.example"], 3: True})):
        yield script(VERIFIED, b"\x0d" + encode({1: number, 2: parameters, 3: 2, 4: PROOF}), b"\x04")
    blob = {2: bytes(17), 3: 0, 4: 17, 5: PROOF, 6: 2}
    yield script(VERIFIED, b"\x0c" + encode(blob), b"\x0c" + encode({1: 960, 3: 0}))
    yield script(resident, b"\x02" + encode({1: "rp.example", 2: _HASH, 6: PROOF, 7: 2}))
