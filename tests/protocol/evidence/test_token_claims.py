"""Unsigned claims stay unsigned, whatever they say."""

from dataclasses import replace

import msgspec
import pytest

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.token_claims import TokenClaims, token_claims_evidence
from fidoloop.protocol.evidence.values import Evidence, EvidenceCheck, EvidenceKind, Source, Tier
from fidoloop.protocol.evidence.verify import describe_evidence

from ..builders import p256, spki
from .builders import NONCE, OTHER_KEY, OTHER_NONCE, USER_KEY
from .verifying import refused, verified

USER = p256(USER_KEY)
CLAIMS = TokenClaims(
    spki=base64url.encode(spki(USER)),
    token_kind="pkcs11",
    manufacturer="a maker",
    model="HSM 9",
    serial="1",
    firmware="9.9",
    sensitive=True,
    extractable=False,
    never_extractable=True,
    local=True,
    purposes=("sign",),
)


def claims_evidence(**changes: object) -> Evidence:
    return token_claims_evidence(msgspec.structs.replace(CLAIMS, **changes), nonce=NONCE, key=USER)


def test_the_best_of_claims_are_worth_no_more_than_unattested() -> None:
    found = verified(claims_evidence())
    assert (found.kind, found.tier, found.source) == (EvidenceKind.PKCS11, Tier.UNATTESTED, Source.UNSIGNED)
    assert (found.key, found.signed_by) == (USER.public_key(), "")
    assert found.claims["never_extractable"] is True
    assert found.claims["note"] == "signed by no device: a module can claim anything"


def test_a_software_tokens_claims_are_labelled_worthless() -> None:
    assert "worth nothing" in str(verified(claims_evidence(token_kind="softhsm")).claims["note"])


def test_possession_is_shown_all_the_same() -> None:
    good = claims_evidence()
    assert refused(good, expected_nonce=OTHER_NONCE) is EvidenceCheck.POSSESSION
    assert refused(replace(good, possession=b"")) is EvidenceCheck.POSSESSION
    assert refused(claims_evidence(spki=base64url.encode(spki(p256(OTHER_KEY))))) is EvidenceCheck.POSSESSION
    assert refused(good, expected_key=p256(OTHER_KEY).public_key()) is EvidenceCheck.KEY


def test_claims_changed_after_signing_are_refused() -> None:
    """The signature covers the claims: whoever holds the key, and nobody after it, makes them."""
    good = claims_evidence()
    forged = strictjson.encode(msgspec.structs.replace(CLAIMS, model="HSM 10")).encode()
    assert refused(replace(good, value=forged)) is EvidenceCheck.POSSESSION


@pytest.mark.parametrize("changes", [{"more": 1}, {"local": "yes"}, {"spki": "?"}, {"purposes": None}])
def test_claims_of_another_form_are_malformed(changes: dict[str, object]) -> None:
    value = strictjson.encode(strictjson.loads(strictjson.encode(CLAIMS)) | changes).encode()
    with pytest.raises(MalformedError):
        verified(replace(claims_evidence(), value=value))


def test_a_key_that_is_none_is_refused() -> None:
    assert refused(claims_evidence(spki="AAAA")) is EvidenceCheck.ALGORITHM


def test_describing_verifies_nothing() -> None:
    key, claims = describe_evidence(replace(claims_evidence(), possession=b""))
    assert (key, claims["model"]) == (USER.public_key(), "HSM 9")
