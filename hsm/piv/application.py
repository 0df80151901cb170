"""The commands of the PIV card application (NIST SP 800-73-4 part 2), and YubiKey's extensions that other cards copied.

Each method is one command, or the commands that belong together; the caller holds the card, has selected the
application and verified what the command needs. A refusal is StatusError where its meaning depends on the caller,
else an error of this room; an answer that is not what the standard says is DeviceError.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fidoloop.hsm.errors import DeviceError, ManagementKeyIncorrect, PinIncorrect, PinLocked
from fidoloop.hsm.piv import slots, tlv
from fidoloop.hsm.piv.apdu import Channel, StatusError
from fidoloop.hsm.piv.management_key import ManagementKey
from fidoloop.protocol.jose import PublicKey

T = TypeVar("T")

AID: Final = bytes.fromhex("a000000308")
P256: Final = 0x11
P384: Final = 0x14
RSA2048: Final = 0x07

NOT_FOUND: Final = (0x6A82, 0x6A88)
UNKNOWN_INSTRUCTION: Final = (0x6D00, 0x6E00, 0x6A81)
SECURITY_STATUS: Final = 0x6982
BLOCKED: Final = 0x6983
FULL: Final = 0x6A84
_CURVES: Final[dict[int, ec.EllipticCurve]] = {P256: ec.SECP256R1(), P384: ec.SECP384R1()}
_GENERATED: Final = 1
_SHORT: Final = 0x70


@dataclass(frozen=True)
class PinState:
    """Whether the PIN is verified now; `tries_left` is None where the card does not say, 0 where it is locked."""

    verified: bool
    tries_left: int | None


@dataclass(frozen=True)
class Metadata:
    """What GET METADATA says of a key: `generated` only where the card itself made it."""

    algorithm: int
    pin_policy: int
    generated: bool
    public_key: PublicKey | None


class PivApplication:
    """The PIV application of one card, over a channel to it."""

    def __init__(self, channel: Channel) -> None:
        """Take the channel; nothing is sent before a method is called."""
        self._channel = channel

    def select(self) -> bytes:
        """Select the application and return its property template (part 2, 3.1.1)."""
        return self._channel.send(0xA4, 0x04, 0x00, AID)

    def version(self) -> str | None:
        """Return the firmware version ("5.4.3"), None where the card does not tell (YubiKey: GET VERSION)."""
        found = self._extension(0xFD)
        return None if found is None or len(found) != 3 else ".".join(map(str, found))

    def serial(self) -> str | None:
        """Return the serial number in decimal, None where the card does not tell (YubiKey: GET SERIAL)."""
        found = self._extension(0xF8)
        return None if found is None or len(found) != 4 else str(int.from_bytes(found, "big"))

    def pin_state(self) -> PinState:
        """Ask for the PIN's state without sending one (part 2, 3.2.1); costs no try."""
        try:
            self._channel.send(0x20, 0x00, slots.PIN, answer=False)
        except StatusError as error:
            left = _tries_left(error.sw)
            if left is None:
                raise
            return PinState(False, left)
        return PinState(True, None)

    def verify_pin(self, pin: bytes) -> None:
        """Send the PIN, padded to eight bytes. Raises PinIncorrect, PinLocked."""
        self._send_secret(0x20, 0x00, slots.PIN, pin, "PIN")

    def log_out(self) -> None:
        """Forget that the PIN was verified (part 2, 3.2.1: P1 = FF). Cards older than the standard refuse it."""
        self._channel.send(0x20, 0xFF, slots.PIN, answer=False)

    def change_pin(self, old: bytes, new: bytes) -> None:
        """Replace the PIN (part 2, 3.2.2). Raises PinIncorrect, PinLocked."""
        self._send_secret(0x24, 0x00, slots.PIN, old + new, "PIN")

    def unblock_pin(self, puk: bytes, new: bytes) -> None:
        """Set a new PIN with the PUK (part 2, 3.2.3). Raises as `verify_pin`, of the PUK."""
        self._send_secret(0x2C, 0x00, slots.PIN, puk + new, "PUK")

    def get_data(self, identifier: int) -> bytes | None:
        """Return a data object's content, None where it is empty or there is none (part 2, 3.1.2)."""
        try:
            answer = self._channel.send(0xCB, 0x3F, 0xFF, tlv.encode(0x5C, identifier.to_bytes(3, "big")))
        except StatusError as error:
            if error.sw in NOT_FOUND:
                return None
            raise
        return _checked(lambda: tlv.only(answer, 0x53), "a data object") or None

    def put_data(self, identifier: int, content: bytes) -> None:
        """Replace a data object's content; nothing empties it (part 2, 3.3.2). Wants the management key."""
        data = tlv.encode(0x5C, identifier.to_bytes(3, "big")) + tlv.encode(0x53, content)
        self._channel.send(0xDB, 0x3F, 0xFF, data, answer=False)

    def generate(self, slot: int, algorithm: int) -> PublicKey:
        """Make a key pair in a slot, in place of one that was there (part 2, 3.3.1). Wants the management key."""
        answer = self._channel.send(0x47, 0x00, slot, bytes((0xAC, 3, 0x80, 1, algorithm)))
        return _checked(lambda: _public_key(tlv.only(answer, 0x7F49), algorithm), "a new public key")

    def delete_key(self, slot: int) -> None:
        """Destroy the key in a slot (YubiKey 5.7: MOVE KEY to FF). Wants the management key."""
        self._channel.send(0xF6, 0xFF, slot, answer=False)

    def metadata(self, slot: int) -> Metadata | None:
        """Return what the card says of the key in a slot, None where there is none (YubiKey 5.3: GET METADATA)."""
        try:
            answer = self._channel.send(0xF7, 0x00, slot)
        except StatusError as error:
            if error.sw in NOT_FOUND:
                return None
            raise
        return _checked(lambda: _metadata(answer), "a key's metadata")

    def attest(self, slot: int) -> bytes | None:
        """Return a certificate (DER) by the attestation key saying that the card made the key in a slot.

        None where the card made no key there (YubiKey 4.3: ATTEST).
        """
        try:
            return self._channel.send(0xF9, slot, 0x00)
        except StatusError as error:
            if error.sw in (*NOT_FOUND, 0x6A80, 0x6985):
                return None
            raise

    def sign(self, slot: int, algorithm: int, block: bytes) -> bytes:
        """Return what the private key makes of `block`: a DER signature, or the raw RSA result (part 2, 3.2.4)."""
        return self._private_operation(slot, algorithm, 0x81, block)

    def agree(self, slot: int, algorithm: int, point: bytes) -> bytes:
        """Return the x coordinate of the point ECDH gives; `point` is 04 || x || y (part 2, 3.2.4)."""
        return self._private_operation(slot, algorithm, 0x85, point)

    def challenge(self, algorithm: int) -> bytes:
        """Return a challenge the card made: random bytes, a block of the management key's cipher (part 2, 3.2.4)."""
        return self._management(algorithm, tlv.encode(0x81, b""), 0x81)

    def management_algorithm(self) -> int | None:
        """Return the management key's algorithm, None where the card does not tell."""
        try:
            answer = self._channel.send(0xF7, 0x00, slots.MANAGEMENT_KEY)
        except StatusError:
            return None
        found = _checked(lambda: tlv.fields(answer).get(1, b""), "the management key's metadata")
        return found[0] if len(found) == 1 else None

    def authenticate(self, key: ManagementKey, algorithm: int) -> None:
        """Prove knowledge of the management key and have the card prove it too (part 2, 3.2.4: mutual).

        Raises:
            StatusError: the card does not take this algorithm.
            ManagementKeyIncorrect: the card refused the proof, or its own is wrong.
        """
        cipher = key.cipher(algorithm)
        witness = self._management(algorithm, tlv.encode(0x80, b""), 0x80)
        challenge = cipher.challenge()
        if len(witness) != len(challenge):
            raise DeviceError("the card's witness is no block of the management key's cipher")
        proof = tlv.encode(0x80, cipher.decrypt(witness)) + tlv.encode(0x81, challenge)
        try:
            answer = self._management(algorithm, proof, 0x82)
        except StatusError as error:
            raise ManagementKeyIncorrect(f"the card refused the management key ({error.sw:04X})") from None
        if not hmac.compare_digest(answer, cipher.encrypt(challenge)):
            raise ManagementKeyIncorrect("the card did not prove that it knows the management key")

    def _management(self, algorithm: int, template: bytes, wanted: int) -> bytes:
        answer = self._channel.send(0x87, algorithm, slots.MANAGEMENT_KEY, tlv.encode(0x7C, template))
        return _checked(lambda: tlv.only(tlv.only(answer, 0x7C), wanted), "an answer to authentication")

    def _private_operation(self, slot: int, algorithm: int, tag: int, value: bytes) -> bytes:
        size = len(value)
        if size > _SHORT:
            template = tlv.encode(0x7C, b"\x82\x00" + tlv.encode(tag, value))
        else:  # the same, written and read in a tenth of the time: every ECDSA signature comes here
            template = bytes((0x7C, size + 4, 0x82, 0, tag, size)) + value
        answer = self._channel.send(0x87, algorithm, slot, template)
        size = len(answer)
        if 4 < size < 0x80 and answer[:4] == bytes((0x7C, size - 2, 0x82, size - 4)):
            return answer[4:]
        return _checked(lambda: tlv.only(tlv.only(answer, 0x7C), 0x82), "a private key's result")

    def _send_secret(self, ins: int, p1: int, p2: int, secret: bytes, what: str) -> None:
        try:
            self._channel.send(ins, p1, p2, secret, answer=False)
        except StatusError as error:
            left = _tries_left(error.sw)
            if left == 0:
                raise PinLocked(f"the {what} is locked after too many wrong tries{_ADVICE[what]}") from None
            if left is not None:
                raise PinIncorrect(f"the {what} is wrong", tries_left=left) from None
            if error.sw == 0x6300:
                raise PinIncorrect(f"the {what} is wrong") from None
            if error.sw in (0x6A80, 0x6700):
                raise PinIncorrect(f"the card does not take this {what}: its length or characters") from None
            raise

    def _extension(self, ins: int) -> bytes | None:
        try:
            return self._channel.send(ins, 0x00, 0x00)
        except StatusError:
            return None


_ADVICE: Final = {
    "PIN": ": set a new one with `fidoloop keys unblock` and the PUK",
    "PUK": ": the card can only be reset, which destroys its keys",
}


def _tries_left(sw: int) -> int | None:
    """Return the tries a status word tells of (63Cx, 6983), None for another one."""
    if sw == BLOCKED:
        return 0
    return sw & 0x0F if sw & 0xFFF0 == 0x63C0 else None


def _checked(read: Callable[[], T], what: str) -> T:
    """Return what `read` makes of an answer; what it cannot read is DeviceError, never a crash."""
    try:
        return read()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DeviceError(f"the card's answer is malformed ({what}: {error})") from None


def _public_key(template: bytes, algorithm: int) -> PublicKey:
    """Read a public key (part 2, table 11): 86 the point, or 81 modulus and 82 exponent. Raises ValueError."""
    found = tlv.fields(template)
    curve = _CURVES.get(algorithm)
    if curve is not None:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, _uncompressed(found.get(0x86, b"")))
    numbers = (int.from_bytes(found.get(tag, b""), "big") for tag in (0x82, 0x81))
    return rsa.RSAPublicNumbers(*numbers).public_key()


def _uncompressed(point: bytes) -> bytes:
    if point[:1] != b"\x04":
        raise ValueError("no uncompressed point")
    return point


def _metadata(answer: bytes) -> Metadata:
    found = tlv.fields(answer)
    algorithm, policy, origin = (found.get(tag, b"") for tag in (1, 2, 3))
    if len(algorithm) != 1:
        raise ValueError("no algorithm")
    known = algorithm[0] in _CURVES or algorithm[0] == RSA2048
    public_key = _public_key(found[4], algorithm[0]) if known and 4 in found else None
    return Metadata(algorithm[0], policy[0] if policy else 0, origin == bytes((_GENERATED,)), public_key)
