"""What lies in the slots of a card: keys, their ids and usages, what the card proves about them, and free slots.

What is claimed about a key: a card with GET METADATA or attestation says whether it made the key itself, and PIV has no
command that reads a private key out; so a key that it made is local, sensitive and was never extractable. A card that
has neither says nothing about its keys, and nothing is claimed, although the standard allows no export there either.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from fidoloop.hsm.keystore import KeyAlgorithm, KeyInfo, KeyUsage
from fidoloop.hsm.piv import application as piv
from fidoloop.hsm.piv.apdu import StatusError
from fidoloop.hsm.piv.application import Metadata, PivApplication
from fidoloop.hsm.piv.container import DELETED, Container, read_container
from fidoloop.hsm.piv.slots import KEY_MANAGEMENT, RETIRED, SLOTS, Slot
from fidoloop.protocol.certificates import UNREADABLE
from fidoloop.protocol.jose import PublicKey

_PIN_ALWAYS: Final = (3, 5)
"""YubiKey's PIN policies that want the PIN, or a finger, before every use."""
_CURVES: Final = {"secp256r1": KeyAlgorithm.P256, "secp384r1": KeyAlgorithm.P384}


@dataclass(frozen=True)
class Entry:
    """One slot: `container` None where empty or unreadable, `key` None where no key of a kind we know is in it.

    `free` means that a new key may be made here without destroying anything.
    """

    slot: Slot
    container: Container | None
    key: KeyInfo | None
    free: bool
    pin_always: bool

    @property
    def certificate(self) -> bytes | None:
        """The certificate somebody stored; a placeholder of ours is none."""
        if self.container is None:
            return None
        mark = self.container.mark
        return None if mark is not None and mark.placeholder else self.container.certificate


class Directory:
    """Reads a card's slots, inside an operation on the card."""

    def __init__(self) -> None:
        """Nothing is known of the card yet."""
        self._has_metadata = True
        self._has_attestation = True
        self._attested: dict[str, bytes] = {}

    def entries(self, application: PivApplication) -> Iterator[Entry]:
        """Read all slots, one by one."""
        for slot in SLOTS:
            yield self.entry(application, slot)

    def entry(self, application: PivApplication, slot: Slot) -> Entry:
        """Read one slot. Raises KeyStoreError, StatusError."""
        content = application.get_data(slot.certificate_object)
        metadata = self._metadata(application, slot)
        always = slot.pin_always
        if metadata is not None and metadata.pin_policy:
            always = metadata.pin_policy in _PIN_ALWAYS
        try:
            container = read_container(content) if content else None
        except ValueError:
            return Entry(slot, None, None, free=False, pin_always=always)
        mark = container.mark if container is not None else None
        no_key = metadata is None and (self._has_metadata or content is None)
        # Our mark without a key is what a broken-off deletion left.
        free = mark == DELETED or (no_key and (content is None or mark is not None))
        key = None if free else self._key(application, slot, container, metadata)
        return Entry(slot, container, None if key is None else replace(key, pin_always=always), free, always)

    def holds_unknown_key(self, application: PivApplication, entry: Entry) -> bool:
        """Tell whether a slot with an empty container holds a key all the same, on a card that does not tell.

        Found out by using it: the PIN must be verified.
        """
        if self._has_metadata or entry.container is not None:
            return False
        attempts = ((piv.P256, bytes(31) + b"\1"), (piv.P384, bytes(47) + b"\1"), (piv.RSA2048, bytes(255) + b"\1"))
        for algorithm, block in attempts:
            try:
                application.sign(entry.slot.reference, algorithm, block)
            except StatusError:
                continue
            return True
        return False

    def forget(self, slot: Slot) -> None:
        """Forget what was attested of a slot whose key changes."""
        self._attested.pop(slot.place, None)

    def made_by_card(self, application: PivApplication, slot: Slot, public_key: PublicKey) -> bool:
        """Tell whether the card says, by metadata or attestation, that it made this key in this slot."""
        return self._local(application, slot, public_key, self._metadata(application, slot))

    def tells_origins(self) -> bool:
        """Tell whether the card says at all which keys it made; known once a slot with a key was read."""
        return self._has_metadata or self._has_attestation

    def _metadata(self, application: PivApplication, slot: Slot) -> Metadata | None:
        if not self._has_metadata:
            return None
        try:
            return application.metadata(slot.reference)
        except StatusError as error:
            if error.sw not in piv.UNKNOWN_INSTRUCTION:
                raise
            self._has_metadata = False
            return None

    def _key(
        self, application: PivApplication, slot: Slot, container: Container | None, metadata: Metadata | None
    ) -> KeyInfo | None:
        certificate = _certificate(container)
        certified = _certified_key(certificate)
        public_key = metadata.public_key if metadata is not None and metadata.public_key is not None else certified
        algorithm = algorithm_of(public_key) if public_key is not None else None
        if public_key is None or algorithm is None:
            return None
        # A certificate for another key, and the mark beside it, say nothing of the key that is there now.
        fits = certified is not None and certified == public_key
        mark = container.mark if container is not None and fits else None
        usage = mark.usage if mark is not None else None
        local = self._local(application, slot, public_key, metadata)
        told = metadata is not None or local
        return KeyInfo(
            key_id=mark.key_id if mark is not None else adopted_id(public_key),
            label=_label(certificate) if fits else "",
            algorithm=algorithm,
            usage=usage or _usage(slot, algorithm, certificate if fits else None),
            public_key=public_key,
            sensitive=told,
            extractable=not told,
            never_extractable=local,
            local=local,
            place=slot.place,
        )

    def _local(self, application: PivApplication, slot: Slot, public_key: PublicKey, metadata: Metadata | None) -> bool:
        if metadata is not None:
            return metadata.generated and metadata.public_key == public_key
        if self._has_metadata or not self._has_attestation:
            return False
        spki = encoded(public_key)
        if self._attested.get(slot.place) == spki:
            return True
        try:
            statement = application.attest(slot.reference)
        except StatusError as error:
            if error.sw in piv.UNKNOWN_INSTRUCTION:
                self._has_attestation = False
            return False
        attested = statement is not None and _certified_key(_parsed(statement)) == public_key
        if attested:
            self._attested[slot.place] = spki
        return attested


def algorithm_of(public_key: PublicKey) -> KeyAlgorithm | None:
    """Return the algorithm of a public key, None for one we do not know."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return KeyAlgorithm.RSA2048 if public_key.key_size == 2048 else None
    return _CURVES.get(public_key.curve.name)


def adopted_id(public_key: PublicKey) -> bytes:
    """Return the id of a key that another program made: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(encoded(public_key)).digest()


def encoded(public_key: PublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo (DER)."""
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certificate(container: Container | None) -> x509.Certificate | None:
    return None if container is None or container.certificate is None else _parsed(container.certificate)


def _parsed(der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE:
        return None  # no certificate we can read: the slot is somebody's all the same


def _certified_key(certificate: x509.Certificate | None) -> PublicKey | None:
    if certificate is None:
        return None
    try:
        found = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else None


def _label(certificate: x509.Certificate | None) -> str:
    if certificate is None:
        return ""
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except UNREADABLE:
        return ""
    return str(names[0].value) if names else ""


def _usage(slot: Slot, algorithm: KeyAlgorithm, certificate: x509.Certificate | None) -> KeyUsage:
    """Return what a key of another program's is for: as its certificate says, else as its slot is meant."""
    secret = KeyUsage.DECRYPT if algorithm is KeyAlgorithm.RSA2048 else KeyUsage.DERIVE
    said = KeyUsage(0)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.KeyUsage).value if certificate else None
    except (*UNREADABLE, x509.ExtensionNotFound, UnsupportedAlgorithm):
        extension = None
    if extension is not None:
        if extension.digital_signature or extension.content_commitment or extension.key_cert_sign:
            said |= KeyUsage.SIGN
        if extension.key_agreement if secret is KeyUsage.DERIVE else extension.key_encipherment:
            said |= secret
    if said:
        return said
    return secret if slot in (KEY_MANAGEMENT, *RETIRED) else KeyUsage.SIGN
