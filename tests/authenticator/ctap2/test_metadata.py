"""Metadata statements: what a server learns from them is what the authenticator does."""

import datetime
import json
from pathlib import Path

import pytest
from fido2 import cbor

from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.metadata import fido_card_statements
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.user_verification import InTheField
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol.uaf.metadata_names import in_numbers
from fidoloop.protocol.uaf.registry import UserVerification
from fidoloop.protocol.webauthn.attestation import verify_attestation
from fidoloop.protocol.webauthn.attestation_object import parse_attestation_object
from fidoloop.protocol.webauthn.models import read_model
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.protocol.webauthn.trust import TrustPolicy, assess_trust
from tests.authenticator.ctap2.lab import HASH, RP, USER

TOKENS = pytest.mark.parametrize("token", ["store", "bare_store"])


def made_by_card(store: KeyStore, path: Path, algorithm: int) -> tuple[dict[int, object], bytes]:
    """Return getInfo of a card with its keys in the token, and the attestation object of a credential."""
    state = Ctap2State(path, store)
    card = Authenticator(store, state, InTheField(), transports=("nfc",))
    info = cbor.decode(card.process(b"\x04")[1:])
    parameters = {1: HASH, 2: RP, 3: USER, 4: [{"type": "public-key", "alg": algorithm}]}
    made = cbor.decode(card.process(b"\x01" + cbor.encode(parameters))[1:])
    card.core.destroy_all_keys()
    state.close()
    assert isinstance(info, dict)
    assert isinstance(made, dict)
    return info, cbor.encode({"fmt": made[1], "authData": made[2], "attStmt": made[3]})


@TOKENS
@pytest.mark.parametrize("algorithm", [-7, -35, -8, -257])
def test_a_server_trusts_a_card_by_its_statement(
    request: pytest.FixtureRequest, tmp_path: Path, token: str, algorithm: int
) -> None:
    store: KeyStore = request.getfixturevalue(token)
    model = read_model(json.loads(json.dumps(fido_card_statements(store)[0])))
    _, attestation = made_by_card(store, tmp_path / "fido.sqlite", algorithm)
    found = parse_attestation_object(attestation)
    attested = verify_attestation(found, HASH)
    credential = found.authenticator_data.credential
    assert credential is not None
    now = datetime.datetime.now(datetime.UTC)
    models = {model.names[0]: model}
    trust = assess_trust(attested, credential.aaguid, models=models, policy=TrustPolicy.METADATA, at=now)
    assert (trust.model, trust.trusted) == (model, True)
    with pytest.raises(WebAuthnRefusal) as refused:
        assess_trust(attested, credential.aaguid, models={}, policy=TrustPolicy.METADATA, at=now)
    assert refused.value.rule is Rule.TRUST


@TOKENS
def test_a_statement_says_what_get_info_says(request: pytest.FixtureRequest, tmp_path: Path, token: str) -> None:
    store: KeyStore = request.getfixturevalue(token)
    statement = fido_card_statements(store)[0]
    info, _ = made_by_card(store, tmp_path / "fido.sqlite", -7)
    aaguid = info.pop(3)
    assert isinstance(aaguid, bytes)
    assert statement["authenticatorGetInfo"].pop("aaguid") == aaguid.hex()
    assert statement["aaguid"].replace("-", "") == aaguid.hex()
    assert list(statement["authenticatorGetInfo"].values()) == list(info.values())
    assert len(statement["authenticationAlgorithms"]) == len(statement["authenticatorGetInfo"]["algorithms"])


@TOKENS
def test_names_in_a_statement_are_the_registrys(request: pytest.FixtureRequest, token: str) -> None:
    silent, verifying = fido_card_statements(request.getfixturevalue(token))
    assert silent["aaguid"] != verifying["aaguid"]
    for statement in (silent, verifying):
        numbers = in_numbers(statement, "$")
        assert numbers["attestationTypes"] == [0x3E07 if token == "store" else 0x3E08]
        assert all(type(number) is int for number in numbers["authenticationAlgorithms"])
    assert verifying["authenticatorGetInfo"]["options"]["uv"] is True
    assert verifying["authenticatorGetInfo"]["uvModality"] == int(UserVerification.PASSCODE)
