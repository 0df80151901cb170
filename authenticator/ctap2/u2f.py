"""CTAP1/U2F: the raw messages register, authenticate and version (CTAP 2.1, section 7; U2F raw messages 1.2).

Its credentials are those of CTAP2, and either protocol may use them: an application id is an RP ID's hash.
"""

import datetime
import threading
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.attestation import self_signed
from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.core import Core
from fidoloop.authenticator.ctap2.credentials import Credential, Protection
from fidoloop.authenticator.ctap2.errors import FAILURES
from fidoloop.authenticator.ctap2.get_info import u2f_enabled
from fidoloop.authenticator.ctap2.signing import ALGORITHMS, ES256
from fidoloop.hsm.keystore import EcHardwareKey
from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord

REGISTER, AUTHENTICATE, VERSION = 0x01, 0x02, 0x03
VERSION_TEXT: Final = b"U2F_V2"
_CHECK_ONLY, _ENFORCE_PRESENCE, _DO_NOT_ENFORCE = 0x07, 0x03, 0x08
_COMMAND_NOT_ALLOWED: Final = 0x6986
_NO_DIAGNOSIS: Final = 0x6F00
_HASH_BYTES: Final = 32
_RESERVED: Final = 0x05
_PRESENT: Final = 0x01


def process_u2f(
    authenticator: Authenticator,
    command: Command,
    *,
    cancelled: threading.Event | None = None,
    on_asking: Callable[[], None] | None = None,
) -> bytes:
    """Answer a U2F command APDU. Raises ApduError, and nothing else."""
    if command.cla != 0:
        raise ApduError(StatusWord.CLASS_NOT_SUPPORTED)
    if command.ins == VERSION:
        command.without_data()
        return VERSION_TEXT
    if command.ins not in (REGISTER, AUTHENTICATE):
        raise ApduError(StatusWord.INSTRUCTION_NOT_SUPPORTED)
    with authenticator.interaction(cancelled, on_asking) as core:
        core.forget_enumerations()
        try:
            if not u2f_enabled(core) or ES256 not in core.algorithms:
                raise ApduError(_COMMAND_NOT_ALLOWED)
            return _register(core, command.data) if command.ins == REGISTER else _authenticate(core, command)
        except CtapError:
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED) from None
        except FAILURES:
            raise ApduError(_NO_DIAGNOSIS) from None


def _register(core: Core, data: bytes) -> bytes:
    if len(data) != 2 * _HASH_BYTES:
        raise ApduError(StatusWord.WRONG_LENGTH)
    challenge, application = data[:_HASH_BYTES], data[_HASH_BYTES:]
    core.interaction.presence("U2F registration")
    credential, key = core.make_key(application, ES256)
    assert isinstance(key, EcHardwareKey)
    try:
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        if core.attestation is None:
            signer = key
            certificate = self_signed(key, core.aaguid, now=datetime.datetime.now(datetime.UTC))
        else:
            signer, certificate = core.attestation.key, core.attestation.certificate
        handle = credential.credential_id
        signature = ALGORITHMS[ES256].sign(signer, b"\0" + application + challenge + handle + point)
    except BaseException:
        core.destroy_key(credential.key_id)
        raise
    return bytes((_RESERVED,)) + point + bytes((len(handle),)) + handle + certificate + signature


def _authenticate(core: Core, command: Command) -> bytes:
    control, data = command.p1, command.data
    if control not in (_CHECK_ONLY, _ENFORCE_PRESENCE, _DO_NOT_ENFORCE):
        raise ApduError(StatusWord.INCORRECT_P1_P2)
    start = 2 * _HASH_BYTES + 1
    if len(data) < start or len(data) != start + data[start - 1]:
        raise ApduError(StatusWord.WRONG_LENGTH)
    challenge, application, handle = data[:_HASH_BYTES], data[_HASH_BYTES : start - 1], data[start:]
    credential = core.credential(application, handle)
    if credential is None or not _usable(credential):
        raise ApduError(StatusWord.INCORRECT_DATA)
    if control == _CHECK_ONLY:
        raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED)
    if control == _ENFORCE_PRESENCE:
        core.interaction.presence("U2F authentication")
    presence = _PRESENT if control == _ENFORCE_PRESENCE else 0
    head = bytes((presence,)) + core.state.next_counter().to_bytes(4, "big")
    return head + ALGORITHMS[ES256].sign(core.key(credential), application + head + challenge)


def _usable(credential: Credential) -> bool:
    """U2F knows P-256 only, and verifies nobody."""
    return credential.algorithm == ES256 and credential.protection is not Protection.REQUIRED
