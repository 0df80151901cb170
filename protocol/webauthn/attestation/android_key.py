"""The format android-key: Android's keystore vouches for a key (WebAuthn 8.4)."""

import hmac

from fidoloop.protocol.certificates import certified_key
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.key_description import ORIGIN_GENERATED, PURPOSE_SIGN, KeyDescription, key_description
from fidoloop.protocol.webauthn.algorithms import load_credential_key, verify_signature
from fidoloop.protocol.webauthn.attestation.statement import AttestationType, Attested, Statement, refused


def verify_android_key(statement: Statement) -> Attested:
    """Verify the statement; what software enforces counts like what the trusted environment does.

    Raises:
        WebAuthnRefusal: ATTESTATION, ALGORITHM.
    """
    statement.check_members({"alg", "sig", "x5c"})
    algorithm, signature, chain = statement.get("alg", int), statement.get("sig", bytes), statement.chain()
    certified = certified_key(chain[0])
    verify_signature(certified, algorithm, signature, statement.signed)
    if certified != load_credential_key(statement.about.credential.public_key).key:
        raise refused("the attested key is not the credential's")
    try:
        description = key_description(chain[0], "attStmt.x5c[0]")
    except MalformedError as error:
        raise refused(str(error)) from None
    if not hmac.compare_digest(description.challenge, statement.client_data_hash):
        raise refused("attestationChallenge is not the hash of the client data")
    _check_authorizations(description)
    return Attested(AttestationType.BASIC, chain)


def _check_authorizations(description: KeyDescription) -> None:
    lists = (description.software_enforced, description.tee_enforced)
    if any(each.all_applications is not None for each in lists):
        raise refused("the key is for all applications")
    if {each.origin for each in lists} - {None} != {ORIGIN_GENERATED}:
        raise refused("origin: the key was not generated in the keystore")
    if lists[0].purposes | lists[1].purposes != {PURPOSE_SIGN}:
        raise refused("purpose: the key is not for signing only")
