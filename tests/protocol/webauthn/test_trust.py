"""Metadata of FIDO2 and U2F models, and what it is used for: steps 24, 25 and 29 of 7.1."""

import base64
from typing import Any

import pytest

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.models import is_model, read_model, read_models
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.protocol.webauthn.trust import TrustPolicy, key_identifier

from ..builders import LEAF_KEY, MIDDLE_KEY, certificate, leaf, middle, p256, root, to_der
from .builders import AAGUID, CREATE, model, model_entry, packed, register, usual_certificate
from .builders import certificate as attestation_certificate
from .test_attestation_formats import u2f

MODELS = {AAGUID.hex(): model("FIDO_CERTIFIED_L1")}


def test_an_attestation_under_the_models_root_is_trusted() -> None:
    taken = register(CREATE.with_(statement=packed()), models=MODELS, trust=TrustPolicy.METADATA)
    assert taken.trusted
    assert taken.model == "a model"


def test_a_root_may_be_the_attestation_certificate_itself() -> None:
    pinned = model(roots=[base64.b64encode(to_der(usual_certificate())).decode()])
    assert register(CREATE.with_(statement=packed()), models={AAGUID.hex(): pinned}).trusted


def test_self_attestation_is_trusted_of_a_model_that_has_it() -> None:
    surrogate = model(attestationTypes=["basic_surrogate"], roots=[])
    taken = register(
        CREATE.with_(statement=packed(self_attested=True)),
        models={AAGUID.hex(): surrogate},
        trust=TrustPolicy.METADATA,
    )
    assert taken.trusted


def test_a_u2f_model_is_known_by_its_certificates_key() -> None:
    name = key_identifier(usual_certificate())
    known = read_model(
        {
            "attestationCertificateKeyIdentifiers": [name.upper()],
            "metadataStatement": model_entry(protocolFamily="u2f")["metadataStatement"],
        }
    )
    assert known.names == (name,)
    ceremony = CREATE.with_(aaguid=bytes(16), statement=u2f(attestation_certificate()))
    models = {key_identifier(attestation_certificate()): known}
    assert register(ceremony, models=models, trust=TrustPolicy.METADATA).trusted
    with pytest.raises(WebAuthnRefusal):
        register(ceremony, models={}, trust=TrustPolicy.METADATA)


@pytest.mark.parametrize("trust", list(TrustPolicy))
def test_a_known_models_chain_must_end_in_its_roots_whatever_the_policy(trust: TrustPolicy) -> None:
    chain = [to_der(usual_certificate()), to_der(middle())]
    for statement in (packed(), packed(x5c=chain)):
        with pytest.raises(WebAuthnRefusal) as refused:
            register(
                CREATE.with_(statement=statement),
                models={AAGUID.hex(): model(roots=[base64.b64encode(to_der(leaf())).decode()])},
                trust=trust,
            )
        assert refused.value.rule is Rule.TRUST


@pytest.mark.parametrize(
    "status", ["REVOKED", "USER_VERIFICATION_BYPASS", "ATTESTATION_KEY_COMPROMISE", "USER_KEY_REMOTE_COMPROMISE"]
)
@pytest.mark.parametrize(
    "statement", [CREATE.statement, packed(self_attested=True), packed()], ids=["none", "self", "full"]
)
def test_a_forbidden_model_is_refused_whoever_vouches_for_it(status: str, statement: Any) -> None:  # noqa: ANN401
    with pytest.raises(WebAuthnRefusal) as refused:
        register(CREATE.with_(statement=statement), models={AAGUID.hex(): model(status)})
    assert refused.value.rule is Rule.STATUS


def test_entries_are_told_apart_by_what_they_name() -> None:
    uaf = {"aaid": "F10B#0111", "metadataStatement": {}}
    other = {"metadataStatement": {"protocolFamily": "uaf"}}
    models, unusable = read_models([uaf, model_entry(), {"aaguid": "a" * 32, "metadataStatement": {}}, other])
    assert [found.names for found in models] == [(AAGUID.hex(),)]
    assert [name for name, _ in unusable] == ["a" * 32]
    assert is_model(model_entry()["metadataStatement"] | {"aaguid": "a" * 32})
    assert not is_model([])


def test_a_bare_statement_names_its_aaguid_itself() -> None:
    bare = model_entry()["metadataStatement"] | {"aaguid": AAGUID.hex()}
    assert read_model(bare).names == (AAGUID.hex(),)


@pytest.mark.parametrize(
    "changes",
    [
        {"aaguid": "x" * 32},
        {"aaguid": "0" * 32},
        {"aaguid": "a" * 31},
        {"attestationCertificateKeyIdentifiers": ["a" * 39]},
        {"metadataStatement": model_entry()["metadataStatement"] | {"aaguid": "b" * 32}},
        {"metadataStatement": model_entry()["metadataStatement"] | {"attestationRootCertificates": ["AAAA"]}},
        {"metadataStatement": model_entry()["metadataStatement"] | {"protocolFamily": "uaf"}},
        {"metadataStatement": {}},
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        read_model(model_entry() | changes)


def test_an_entry_without_a_name_is_refused() -> None:
    with pytest.raises(MalformedError):
        read_model({"metadataStatement": model_entry()["metadataStatement"]})


def test_the_key_identifier_is_that_of_the_certificates_own_extension() -> None:
    made = certificate("x", p256(LEAF_KEY), "middle", p256(MIDDLE_KEY))
    assert key_identifier(made) == key_identifier(usual_certificate())
    assert key_identifier(root()) != key_identifier(made)
