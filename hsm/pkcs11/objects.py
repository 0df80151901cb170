"""Objects of a token: finding them, holding their handles, reading what they say about themselves."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import pkcs11 as p11
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from pkcs11 import Attribute, KeyType, ObjectClass, _pkcs11

from fidoloop.hsm.errors import KeyGone, NotSupported
from fidoloop.hsm.keystore import KeyAlgorithm, KeyInfo, KeyUsage, PublicKey
from fidoloop.hsm.pkcs11.errors import WRONG_PIN, translate
from fidoloop.hsm.pkcs11.token import Lease, Token

T = TypeVar("T")
Attributes = Mapping[Attribute, Any]


@dataclass(frozen=True)
class Curve:
    """A curve: CKA_EC_PARAMS (DER object identifier), cryptography's object, bytes of a coordinate and of the order."""

    params: bytes
    curve: ec.EllipticCurve
    size: int


CURVES: Final = {
    KeyAlgorithm.P256: Curve(bytes.fromhex("06082a8648ce3d030107"), ec.SECP256R1(), 32),
    KeyAlgorithm.P384: Curve(bytes.fromhex("06052b81040022"), ec.SECP384R1(), 48),
    KeyAlgorithm.P521: Curve(bytes.fromhex("06052b81040023"), ec.SECP521R1(), 66),
    KeyAlgorithm.SECP256K1: Curve(bytes.fromhex("06052b8104000a"), ec.SECP256K1(), 32),
}


@dataclass(frozen=True)
class EdwardsCurve:
    """An Edwards curve: CKA_EC_PARAMS as object identifier and as name (PKCS#11 3.0 6.3.5), bytes of a point."""

    params: bytes
    name: bytes
    size: int
    load: Callable[[bytes], PublicKey]


EDWARDS_CURVES: Final = {
    KeyAlgorithm.ED25519: EdwardsCurve(
        bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519", 32, ed25519.Ed25519PublicKey.from_public_bytes
    ),
    KeyAlgorithm.ED448: EdwardsCurve(
        bytes.fromhex("06032b6571"), b"\x13\x0aedwards448", 57, ed448.Ed448PublicKey.from_public_bytes
    ),
}
_BATCH: Final = 64
_READ: Final = [
    Attribute.ID,
    Attribute.LABEL,
    Attribute.KEY_TYPE,
    Attribute.EC_PARAMS,
    Attribute.MODULUS,
    Attribute.PUBLIC_EXPONENT,
    Attribute.SIGN,
    Attribute.DERIVE,
    Attribute.DECRYPT,
    Attribute.SENSITIVE,
    Attribute.EXTRACTABLE,
    Attribute.NEVER_EXTRACTABLE,
    Attribute.LOCAL,
    Attribute.ALWAYS_AUTHENTICATE,
]
_READ_PUBLIC: Final = [Attribute.ID, Attribute.EC_POINT, Attribute.MODULUS, Attribute.PUBLIC_EXPONENT]


class HeldObject:
    """A token object by class and CKA_ID whose handle is kept, and found again once when it has gone stale."""

    def __init__(self, lease: Lease, object_class: ObjectClass, key_id: bytes) -> None:
        """Name the object; it is looked for at the first use."""
        self.key_id = key_id
        self._lease = lease
        self._token = lease.token
        self._class = object_class
        self._pin_always = False
        self._handle: Any = None
        self._epoch = -1

    @property
    def in_tpm(self) -> bool:
        """Whether the token is a TPM."""
        return self._token.kind == "tpm"

    def call(self, doing: str, operation: Callable[[Any], T]) -> T:
        """Run `operation` on python-pkcs11's object, under the module's lock.

        Raises:
            KeyGone: the object is not in the token any more.
            KeyStoreError: as PKCS#11's answer says.
        """
        token = self._token
        with token.module.lock:
            try:
                if self._epoch != token.epoch or not self._lease.open:
                    self.find()
                try:
                    return operation(self._handle)
                except token.stale as error:
                    token.renew(error)
                    return operation(self.find())
            except p11.PKCS11Error as error:
                raise translate(error, doing) from error

    def find(self) -> Any:  # noqa: ANN401  # python-pkcs11 builds a class for every object it finds
        """Look for the object, under the module's lock. Raises KeyGone."""
        self._lease.check()
        token = self._token
        session = token.session()
        found = search(session, self._class, self.key_id)
        if not found and not token.logged_in(session):
            token.reopen()
            found = search(token.session(), self._class, self.key_id)
        if not found:
            raise KeyGone(
                f"no {self._class.name.lower().replace('_', ' ')} with id {self.key_id.hex()} is in the token"
            )
        self.hold(found[0])
        return self._handle

    def hold(self, found: Any) -> None:  # noqa: ANN401  # a python-pkcs11 object
        """Keep the handle of the object, just found or made, under the module's lock."""
        self._handle = _PinAlways(found, self._token) if self._pin_always else found
        self._epoch = self._token.epoch

    def give_pin_always(self) -> None:
        """From now on give the PIN before every use, as a key with CKA_ALWAYS_AUTHENTICATE wants it."""
        self._pin_always = True
        self._epoch = -1


class _PinAlways:
    """A private key that is given the PIN between the beginning of an operation and the operation itself."""

    def __init__(self, key: Any, token: Token) -> None:  # noqa: ANN401  # a python-pkcs11 object
        self._key = key
        self._token = token

    def sign(self, data: bytes, **how: Any) -> bytes:  # noqa: ANN401  # arguments of python-pkcs11's key
        return self._with_pin(lambda pin: self._key.sign(data, pin=pin, **how))

    def _sign(self, data: bytes, mechanism: p11.Mechanism) -> bytes:
        return self.sign(data, mechanism=mechanism)

    def decrypt(self, data: bytes, **how: Any) -> bytes:  # noqa: ANN401  # arguments of python-pkcs11's key
        return self._with_pin(lambda pin: self._key.decrypt(data, pin=pin, **how))

    def derive_key(self, *_: object, **__: object) -> NoReturn:
        raise NotSupported("the key wants the PIN before every use, and PKCS#11 has no way to give it to derive a key")

    def _with_pin(self, operation: Callable[[str], bytes]) -> bytes:
        pin = self._token.pin_for_use()
        try:
            return operation(pin)
        except WRONG_PIN:
            self._token.refuse_pin()
            raise


def search(session: p11.Session, object_class: ObjectClass | None, key_id: bytes | None = None) -> list[Any]:
    """Return all objects of a class, or with an id, or both. The search is over when this returns."""
    template: dict[Attribute, Any] = {}
    if object_class is not None:
        template[Attribute.CLASS] = object_class
    if key_id is not None:
        template[Attribute.ID] = key_id
    operation = _pkcs11.SearchIter(session, template, _BATCH)  # type: ignore[attr-defined]  # what get_objects uses
    try:
        with operation:
            return [found for batch in operation for found in batch]
    except p11.PKCS11Error:
        # One that did not begin would hold the session's lock for as long as this error is held by anybody.
        with contextlib.suppress(p11.PKCS11Error):
            operation._finalize()
        raise


def read_key(private: Any, public: Attributes) -> KeyInfo | None:  # noqa: ANN401  # a python-pkcs11 object
    """Describe a private key; None if it is of no kind in `KeyAlgorithm`, or its public part is nowhere to be found.

    Args:
        private: python-pkcs11's object.
        public: attributes of the public key with the same id; may be empty for RSA.
    """
    try:
        attributes: Attributes = private.get_attributes(_READ)
    except ValueError:
        return None  # a key type or label python-pkcs11 has no value for
    algorithm, public_key = _public_key(attributes, public)
    if algorithm is None or public_key is None:
        return None
    return KeyInfo(
        key_id=attributes.get(Attribute.ID, b""),
        label=attributes.get(Attribute.LABEL, ""),
        algorithm=algorithm,
        usage=_usage(attributes, algorithm),
        public_key=public_key,
        sensitive=bool(attributes.get(Attribute.SENSITIVE, False)),
        extractable=bool(attributes.get(Attribute.EXTRACTABLE, True)),
        never_extractable=bool(attributes.get(Attribute.NEVER_EXTRACTABLE, False)),
        local=bool(attributes.get(Attribute.LOCAL, False)),
        pin_always=bool(attributes.get(Attribute.ALWAYS_AUTHENTICATE, False)),
    )


def read_public(public: Any) -> Attributes:  # noqa: ANN401  # a python-pkcs11 object
    """Read what is needed of a public key object."""
    attributes: Attributes = public.get_attributes(_READ_PUBLIC)
    return attributes


def decode_point(value: bytes, size: int) -> bytes:
    """Return 04 || x || y of a CKA_EC_POINT; `size` is the number of bytes of a coordinate. Raises ValueError."""
    point = _bare_point(value, 2 * size + 1)
    if point[0] != 0x04:
        raise ValueError("CKA_EC_POINT is no uncompressed point of this curve")
    return point


def _bare_point(value: bytes, length: int) -> bytes:
    """Return the `length` bytes of a CKA_EC_POINT: a DER OCTET STRING, or the bare point some modules give.

    Decided by length, never by trying DER first. Raises ValueError.
    """
    header = bytes((0x04, length)) if length < 0x80 else bytes((0x04, 0x81, length))
    if len(value) == length + len(header) and value.startswith(header):
        value = value[len(header) :]
    if len(value) != length:
        raise ValueError("CKA_EC_POINT is no point of this curve")
    return value


def _public_key(private: Attributes, public: Attributes) -> tuple[KeyAlgorithm | None, PublicKey | None]:
    key_type = private.get(Attribute.KEY_TYPE)
    try:
        if key_type == KeyType.EC:
            for algorithm, curve in CURVES.items():
                if private.get(Attribute.EC_PARAMS) == curve.params:
                    point = decode_point(public.get(Attribute.EC_POINT, b""), curve.size)
                    return algorithm, ec.EllipticCurvePublicKey.from_encoded_point(curve.curve, point)
        if key_type == KeyType.EC_EDWARDS:
            for algorithm, edwards in EDWARDS_CURVES.items():
                if private.get(Attribute.EC_PARAMS) in (edwards.params, edwards.name):
                    return algorithm, edwards.load(_bare_point(public.get(Attribute.EC_POINT, b""), edwards.size))
        if key_type == KeyType.RSA:
            source = private if private.get(Attribute.PUBLIC_EXPONENT) else public
            modulus = int.from_bytes(source.get(Attribute.MODULUS, b""), "big")
            exponent = int.from_bytes(source.get(Attribute.PUBLIC_EXPONENT, b""), "big")
            if modulus.bit_length() == 2048:
                return KeyAlgorithm.RSA2048, rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        pass  # no public part, or one that is not on the curve
    return None, None


def _usage(attributes: Attributes, algorithm: KeyAlgorithm) -> KeyUsage:
    # tpm2-pkcs11 calls every key one to decrypt with; an EC key cannot.
    rsa_key = algorithm is KeyAlgorithm.RSA2048
    other = (Attribute.DECRYPT, KeyUsage.DECRYPT) if rsa_key else (Attribute.DERIVE, KeyUsage.DERIVE)
    usage = KeyUsage(0)
    for attribute, flag in ((Attribute.SIGN, KeyUsage.SIGN), other):
        if attributes.get(attribute, False):
            usage |= flag
    return usage
