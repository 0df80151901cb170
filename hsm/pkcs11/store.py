"""The key store of a PKCS#11 token."""

import builtins
from collections.abc import Callable
from typing import Any, Final

import pkcs11 as p11
from cryptography.hazmat.primitives import serialization
from pkcs11 import Attribute, CertificateType, Mechanism, ObjectClass

from fidoloop.hsm.errors import KeyGone, NotSupported, PinIncorrect, UriError
from fidoloop.hsm.keystore import (
    HardwareKey,
    KeyAlgorithm,
    KeyInfo,
    KeyStore,
    KeyUsage,
    MacKey,
    TokenInfo,
)
from fidoloop.hsm.pkcs11.attest import attest_by_claims
from fidoloop.hsm.pkcs11.ec_key import Pkcs11EcKey
from fidoloop.hsm.pkcs11.ed_key import Pkcs11Ed448Key, Pkcs11Ed25519Key
from fidoloop.hsm.pkcs11.errors import translate
from fidoloop.hsm.pkcs11.generate import generate_mac_key, generate_pair, signing_algorithms
from fidoloop.hsm.pkcs11.kinds import is_hardware, kind_of
from fidoloop.hsm.pkcs11.module import load_module
from fidoloop.hsm.pkcs11.objects import Attributes, HeldObject, read_key, read_public, search
from fidoloop.hsm.pkcs11.rsa_key import Pkcs11RsaKey
from fidoloop.hsm.pkcs11.token import has_pin_pad, lease_token
from fidoloop.hsm.tpm.attest import attest_by_tpm
from fidoloop.hsm.uri import Pkcs11Uri
from fidoloop.protocol.certificates import load_certificate
from fidoloop.protocol.evidence.values import Evidence

_HMAC = {Mechanism.SHA256_HMAC, Mechanism.GENERIC_SECRET_KEY_GEN}


class Pkcs11KeyStore(KeyStore):
    """See `KeyStore`. Sessions and object handles are kept: using a key looks nothing up."""

    def __init__(self, uri: Pkcs11Uri, pin: Callable[[str], str | None]) -> None:
        """Open the token.

        Args:
            uri: needs module-path.
            pin: asked for the PIN, with the token's label, if the token wants one.
        """
        if uri.module_path is None:
            raise UriError("the URI needs module-path: the file of the PKCS#11 module")
        self.uri = str(uri)
        self._lease = lease_token(load_module(uri.module_path), uri, pin)
        self._token = self._lease.token
        self._keys: dict[bytes, _Key] = {}

    def info(self) -> TokenInfo:
        """Describe the token."""

        def read(session: p11.Session) -> TokenInfo:
            token = session.token
            return TokenInfo(
                kind=kind_of(token),
                label=token.label,
                manufacturer=token.manufacturer_id,
                model=token.model,
                serial=token.serial.decode(errors="replace").rstrip("\0 "),
                firmware=".".join(map(str, token.firmware_version)),
                hardware=is_hardware(token),
                pin_pad=has_pin_pad(token),
                makes_keys=Mechanism.EC_KEY_PAIR_GEN in token.slot.get_mechanisms(),
                mechanisms=_mechanism_names(token.slot),
                algorithms=signing_algorithms(token),
            )

        return self._lease.run("describing the token", read)

    def generate(
        self, algorithm: KeyAlgorithm, usage: KeyUsage, *, key_id: bytes, label: str, place: str = ""
    ) -> HardwareKey:
        """Make a key pair in the token; see `KeyStore.generate`."""
        if place:
            raise NotSupported("a PKCS#11 token has no places to choose from")

        def make(session: p11.Session) -> tuple[KeyInfo, HeldObject]:
            info, private = generate_pair(session, algorithm, usage, key_id, label)
            held = HeldObject(self._lease, ObjectClass.PRIVATE_KEY, key_id)
            held.hold(private)
            return info, held

        info, held = self._lease.run("generating a key", make)
        if self._token.kind == "tpm":  # tpm2-pkcs11 leaves a context in the TPM for every key made
            with self._token.module.lock:
                self._token.module.reinitialise()
        return self._keep(info, held)

    def key(self, key_id: bytes) -> HardwareKey:
        """Open the key with this CKA_ID; the handle is kept. Raises KeyGone, NotSupported."""
        known = self._keys.get(key_id)
        if known is not None:
            self._lease.check()
            return known
        held = HeldObject(self._lease, ObjectClass.PRIVATE_KEY, key_id)
        return self._keep(held.call("opening a key", lambda private: self._read(private, key_id)), held)

    def list(self) -> builtins.list[KeyInfo]:
        """Return the keys, sorted by id."""
        return self._lease.run("listing keys", _list)

    def delete(self, key_id: bytes) -> None:
        """Destroy every object with this CKA_ID. Raises KeyGone if there is none."""
        if not key_id:
            raise KeyGone("no object without an id can be deleted")

        def destroy(session: p11.Session) -> int:
            classes = ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY, ObjectClass.CERTIFICATE, ObjectClass.SECRET_KEY
            found = [one for object_class in classes for one in search(session, object_class, key_id)]
            for one in found:
                one.destroy()
            return len(found)

        self._keys.pop(key_id, None)
        if not self._lease.run("deleting a key", destroy):
            raise KeyGone(f"nothing with id {key_id.hex()} is in the token")

    def put_certificate(self, key_id: bytes, der: bytes, label: str) -> None:
        """Store an X.509 certificate in place of one that was there. Raises ValueError for broken DER."""
        template = _certificate_template(key_id, der, label)

        def put(session: p11.Session) -> None:
            old = search(session, ObjectClass.CERTIFICATE, key_id)
            session.create_object(template)  # first, so that a full token loses nothing
            for one in old:
                one.destroy()

        self._lease.run("storing a certificate", put)

    def certificate(self, key_id: bytes) -> bytes | None:
        """Return the X.509 certificate (DER) stored under this CKA_ID, or None."""

        def read(session: p11.Session) -> bytes | None:
            found = search(session, ObjectClass.CERTIFICATE, key_id)
            return bytes(found[0][Attribute.VALUE]) if found else None

        return self._lease.run("reading a certificate", read)

    def mac_key(self, key_id: bytes, label: str, *, make: bool = True) -> MacKey | None:
        """Open the HMAC-SHA-256 key with this CKA_ID, or make it; see `KeyStore.mac_key`."""

        def ensure(session: p11.Session) -> bool:
            if not session.token.slot.get_mechanisms() >= _HMAC:
                return False
            if not search(session, ObjectClass.SECRET_KEY, key_id):
                if not make:
                    return False
                generate_mac_key(session, key_id, label)
            return True

        if not key_id:
            raise ValueError("a key needs an id")
        if not self._lease.run("making a MAC key", ensure):
            return None
        return Pkcs11MacKey(HeldObject(self._lease, ObjectClass.SECRET_KEY, key_id))

    def attest(self, key_id: bytes, nonce: bytes) -> Evidence:
        """Return what a TPM signs, else the key's attributes, which nobody does; see `KeyStore.attest`."""
        token, key = self.info(), self.key(key_id)
        if token.kind != "tpm":
            return attest_by_claims(token, key, nonce)
        with self._token.module.lock:
            pin = self._token.remembered_pin() or ""
            try:
                return attest_by_tpm(token.label, key.info, pin=pin, nonce=nonce)
            except PinIncorrect:
                self._token.refuse_pin()
                raise

    def verify_pin(self, pin: str) -> None:
        """Ask the token whether this is the user's PIN; see `KeyStore.verify_pin`."""
        with self._token.module.lock:
            self._lease.check()
            try:
                self._token.verify_pin(pin)
            except p11.PKCS11Error as error:
                raise translate(error, "checking the PIN") from error

    def random(self, n: int) -> bytes:
        """Return `n` random bytes made by the token."""
        if n < 0:
            raise ValueError("a number of bytes is not negative")
        if n == 0:
            return b""
        return self._lease.run("making random bytes", lambda session: session.generate_random(8 * n))

    def close(self) -> None:
        """Give the token back; keys of this store stop working."""
        self._lease.close()

    def _read(self, private: Any, key_id: bytes) -> KeyInfo:  # noqa: ANN401  # a python-pkcs11 object
        publics = search(private.session, ObjectClass.PUBLIC_KEY, key_id)
        public = read_public(publics[0]) if publics else {}
        info = read_key(private, public)
        if info is None:
            raise NotSupported(f"the key {key_id.hex()} is of no kind this store knows, or has no public part")
        return info

    def _keep(self, info: KeyInfo, held: HeldObject) -> HardwareKey:
        if info.pin_always:
            held.give_pin_always()
        key = self._keys[info.key_id] = _CLASSES.get(info.algorithm, Pkcs11EcKey)(held, info)
        return key


_Key = Pkcs11EcKey | Pkcs11RsaKey | Pkcs11Ed25519Key | Pkcs11Ed448Key
_CLASSES: Final[dict[KeyAlgorithm, type[_Key]]] = {
    KeyAlgorithm.RSA2048: Pkcs11RsaKey,
    KeyAlgorithm.ED25519: Pkcs11Ed25519Key,
    KeyAlgorithm.ED448: Pkcs11Ed448Key,
}


class Pkcs11MacKey:
    """An HMAC-SHA-256 key in a token."""

    def __init__(self, held: HeldObject) -> None:
        """Take the secret key object."""
        self._held = held

    def mac(self, data: bytes) -> bytes:
        """Return HMAC-SHA-256 of `data`, 32 bytes (CKM_SHA256_HMAC)."""
        code: bytes = self._held.call("computing a MAC", lambda key: key.sign(data, mechanism=Mechanism.SHA256_HMAC))
        return code


def _mechanism_names(slot: p11.Slot) -> frozenset[str]:
    # Where a module counts more mechanisms than it lists, python-pkcs11 gives what was in its memory for the rest.
    numbers = (mechanism for mechanism in slot.get_mechanisms() if mechanism < 1 << 32)
    return frozenset(getattr(number, "name", f"0x{number:x}").lstrip("_") for number in numbers)


def _list(session: p11.Session) -> builtins.list[KeyInfo]:
    public: dict[bytes, Attributes] = {}
    for found in search(session, ObjectClass.PUBLIC_KEY):
        attributes = read_public(found)
        public[attributes.get(Attribute.ID, b"")] = attributes
    keys = []
    for private in search(session, ObjectClass.PRIVATE_KEY):
        info = read_key(private, public.get(private[Attribute.ID], {}))
        if info is not None:
            keys.append(info)
    return sorted(keys, key=lambda info: info.key_id)


def _certificate_template(key_id: bytes, der: bytes, label: str) -> dict[Attribute, Any]:
    certificate = load_certificate(der)
    serial = certificate.serial_number
    content = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
    return {
        Attribute.CLASS: ObjectClass.CERTIFICATE,
        Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: False,
        Attribute.ID: key_id,
        Attribute.LABEL: label,
        Attribute.SUBJECT: certificate.subject.public_bytes(),
        Attribute.ISSUER: certificate.issuer.public_bytes(),
        Attribute.SERIAL_NUMBER: bytes((0x02, len(content))) + content,
        Attribute.VALUE: certificate.public_bytes(serialization.Encoding.DER),
    }
