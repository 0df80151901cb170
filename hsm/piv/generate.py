"""Making a key in a slot: choosing the slot, proving the key, and writing its certificate container."""

import datetime
import os
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fidoloop.hsm.errors import KeyRefused, KeyStoreError, NotSupported, TokenFull
from fidoloop.hsm.keystore import KeyAlgorithm, KeyUsage
from fidoloop.hsm.piv import application as piv
from fidoloop.hsm.piv.apdu import StatusError
from fidoloop.hsm.piv.application import PivApplication
from fidoloop.hsm.piv.directory import Directory, Entry
from fidoloop.hsm.piv.keys import PivEcKey, PivRsaKey
from fidoloop.hsm.piv.slots import Slot, candidates, slot_named
from fidoloop.protocol.jose import PublicKey

FITTING: Final = {
    (KeyAlgorithm.P256, KeyUsage.SIGN),
    (KeyAlgorithm.P256, KeyUsage.DERIVE),
    (KeyAlgorithm.P384, KeyUsage.SIGN),
    (KeyAlgorithm.P384, KeyUsage.DERIVE),
    (KeyAlgorithm.RSA2048, KeyUsage.SIGN),
    (KeyAlgorithm.RSA2048, KeyUsage.DECRYPT),
}
MAX_LABEL: Final = 64
"""Characters of a common name (RFC 5280, ub-common-name)."""
_NO_END: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
_NOT_HERE: Final = (0x6A86, 0x6B00, *piv.NOT_FOUND)
"""What cards answer to GENERATE for a slot they do not have."""


def slots_to_try(entries: dict[str, Entry], usage: KeyUsage, place: str) -> list[Entry]:
    """Return the free slots for a key, the best first; the one at `place` where that is not empty.

    Raises:
        TokenFull: there is none, or that one is taken.
        NotSupported: there is no such slot on any PIV card.
    """
    if place:
        named = entries[slot_named(place).place]
        if not named.free:
            raise TokenFull(f"slot {named.slot.place} is taken: delete what is in it first")
        return [named]
    free = [entry for slot in candidates(usage) if (entry := entries[slot.place]).free]
    if not free:
        raise TokenFull("every slot of the card is taken: `fidoloop keys list` says what each serves")
    return free


def make_key(
    application: PivApplication, directory: Directory, free: list[Entry], algorithm: int
) -> tuple[Slot, PublicKey]:
    """Make a key in the first of the free slots that the card has. Wants the management key and the PIN.

    Raises:
        TokenFull: the card has none of the slots, or all hold keys without certificates.
        NotSupported: it does not know the algorithm.
    """
    refused: StatusError | None = None
    for entry in free:
        if directory.holds_unknown_key(application, entry):
            continue
        try:
            return entry.slot, application.generate(entry.slot.reference, algorithm)
        except StatusError as error:
            if error.sw not in (*_NOT_HERE, 0x6A80):
                raise
            refused = error
    if refused is not None and refused.sw == 0x6A80:
        raise NotSupported("the card does not make keys of this kind")
    raise TokenFull("the free slots of the card hold keys without certificates, or the card does not have them")


def prove(key: PivEcKey | PivRsaKey, usage: KeyUsage) -> None:
    """Have the new key do what it is for, and check the result. Raises KeyRefused, KeyStoreError."""
    if usage is not KeyUsage.DERIVE:
        return  # the signature on the placeholder certificate is the proof; RSA has one operation for both
    assert isinstance(key, PivEcKey)
    other = ec.generate_private_key(key.curve)
    if key.exchange(ec.ECDH(), other.public_key()) != other.exchange(ec.ECDH(), key.public_key()):
        raise KeyRefused("the card does not hold the private key of the public key it gave")


def placeholder_certificate(signer: PivEcKey | PivRsaKey, label: str, usage: KeyUsage) -> bytes:
    """Return a self-signed certificate (DER) that carries the public key and the label, for as long as nobody puts one.

    A card may let a key for key agreement sign nothing: then the signature is by a key that is thrown away.
    Raises NotSupported for a label that is too long, KeyRefused where the signature is wrong.
    """
    if len(label) > MAX_LABEL:
        raise NotSupported(f"a PIV card keeps labels of up to {MAX_LABEL} characters")
    common_name = [x509.NameAttribute(NameOID.COMMON_NAME, label)] if label else []
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fidoloop"), *common_name])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signer.public_key())
        .serial_number(int.from_bytes(os.urandom(16), "big") >> 1)
        .not_valid_before(datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1))
        .not_valid_after(_NO_END)
        .add_extension(_key_usage(usage), critical=True)
    )
    digest = hashes.SHA384() if signer.key_size == 384 else hashes.SHA256()
    try:
        certificate = builder.sign(signer, digest)
    except (StatusError, KeyStoreError):
        if usage is not KeyUsage.DERIVE:
            raise
        assert isinstance(signer, PivEcKey)
        return builder.sign(ec.generate_private_key(signer.curve), digest).public_bytes(Encoding.DER)
    return certificate.public_bytes(Encoding.DER)


def _key_usage(usage: KeyUsage) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=usage is KeyUsage.SIGN,
        key_agreement=usage is KeyUsage.DERIVE,
        key_encipherment=usage is KeyUsage.DECRYPT,
        content_commitment=False,
        data_encipherment=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
