"""The format none: nobody vouches (WebAuthn 8.7)."""

from fidoloop.protocol.webauthn.attestation.statement import AttestationType, Attested, Statement, refused


def verify_none(statement: Statement) -> Attested:
    """Refuse a statement that is not empty."""
    if statement.members:
        raise refused("attStmt of format none is not empty")
    return Attested(AttestationType.NONE)
