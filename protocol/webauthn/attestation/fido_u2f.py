"""The format fido-u2f: what a U2F authenticator signs at registration (WebAuthn 8.6)."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.protocol.certificates import certified_key
from fidoloop.protocol.webauthn.algorithms import load_credential_key, verify_signature
from fidoloop.protocol.webauthn.attestation.statement import AttestationType, Attested, Statement, refused

_ES256 = -7


def verify_fido_u2f(statement: Statement) -> Attested:
    """Verify the statement. Raises WebAuthnRefusal ATTESTATION."""
    statement.check_members({"x5c", "sig"})
    signature, chain = statement.get("sig", bytes), statement.chain()
    if len(chain) != 1:
        raise refused(f"attStmt.x5c: {len(chain)} certificates, one expected")
    certified = certified_key(chain[0])
    if not isinstance(certified, ec.EllipticCurvePublicKey) or not isinstance(certified.curve, ec.SECP256R1):
        raise refused("the attestation certificate's key is not of P-256")
    credential = statement.about.credential
    key = load_credential_key(credential.public_key)
    if key.algorithm != _ES256 or not isinstance(key.key, ec.EllipticCurvePublicKey):
        raise refused("the credential key of a U2F authenticator is of ES256")
    point = key.key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    rp_id_hash = statement.about.authenticator_data.rp_id_hash
    data = b"\x00" + rp_id_hash + statement.client_data_hash + credential.id + point
    verify_signature(certified, _ES256, signature, data)
    return Attested(AttestationType.BASIC, chain)
