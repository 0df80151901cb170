"""Evidence of a PIV card: the certificate its slot F9 makes for a key, and the key's signature over the nonce."""

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import HardwareKey, KeyUsage
from fidoloop.protocol.evidence.device_certificate import device_certificate_evidence
from fidoloop.protocol.evidence.values import Evidence, EvidenceKind


def attest_by_card(chain: tuple[bytes, ...] | None, key: HardwareKey, nonce: bytes) -> Evidence:
    """Return the card's attestation of the key, signed by the key.

    Args:
        chain: DER, the key's certificate first; None where the card made none.
        key: the attested key.
        nonce: 8 to 32 bytes.

    Raises:
        NotSupported: there is no attestation, or the key does not sign.
        ValueError: the nonce is of another size.
    """
    if chain is None:
        raise NotSupported("the card attests no keys, or did not make this one itself")
    if KeyUsage.SIGN not in key.info.usage:
        raise NotSupported("a card's attestation carries no nonce, and only a key that signs can show that it is there")
    return device_certificate_evidence(EvidenceKind.PIV, chain, nonce=nonce, key=key)
