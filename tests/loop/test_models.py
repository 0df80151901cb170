"""Every model of a phone, from its key in the token to log-ins that a real server verifies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fidoloop.authenticator.key_kinds import KEY_KINDS, KeyKind
from fidoloop.authenticator.models import Model, StoreKind
from fidoloop.authenticator.user_verification import Prompt
from fidoloop.bridge.errors import ClientFailureError
from fidoloop.hsm.keystore import KeyAlgorithm, KeyInfo
from fidoloop.lab_card import PIN, LabCard
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, Algorithm, AttestationType, UserVerification
from fidoloop.protocol.uaf.status import ClientError
from tests.lab import Lab, running_lab


def model_of(kind: KeyKind, store: StoreKind = StoreKind.SOFTHSM) -> Model:
    return Model(store, kind, UserVerification.PRESENCE)


def policy_name(aaid: str) -> str:
    return f"only-{aaid.replace('#', '-')}"


def only_algorithm(algorithm: int) -> Policy:
    criteria = MatchCriteria(authenticationAlgorithms=(algorithm,), assertionSchemes=(ASSERTION_SCHEME,))
    return Policy(accepted=((criteria,),))


def policies_of(store: StoreKind) -> dict[str, Policy]:
    """Return a policy for each model, and one for each algorithm by its registry number."""
    aaids = [model_of(kind, store).aaid for kind in KEY_KINDS]
    policies = {policy_name(aaid): Policy(accepted=((MatchCriteria(aaid=(aaid,)),),)) for aaid in aaids}
    return policies | {f"algorithm-{kind.algorithm:x}": only_algorithm(kind.algorithm) for kind in KEY_KINDS}


@pytest.fixture(scope="module")
def lab(fidoloop_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    policies = policies_of(StoreKind.SOFTHSM)
    with running_lab(fidoloop_token, tmp_path_factory.mktemp("models"), policies=policies) as lab:
        yield lab


@pytest.fixture(scope="module")
def tpm_lab(fidoloop_tpm_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    policies = policies_of(StoreKind.SOFTWARE_TOKEN)
    with running_lab(fidoloop_tpm_token, tmp_path_factory.mktemp("models-tpm"), policies=policies) as lab:
        yield lab


def through_the_loop(lab: Lab, aaid: str) -> KeyInfo:
    """Register a model by a policy of its own, log in, confirm a transaction; return its key, and give all back."""
    phone, username = lab.phone(verification="prompt", verifier=Prompt(lambda _: True)), lab.new_user()
    enrolment = lab.laptop.dispatch(operation="Reg", username=username, dispatcher="link", policy=policy_name(aaid))
    ((registered, _),) = phone.register(enrolment.response, server=lab.server.url).keys
    assert registered == aaid
    for transaction in (None, "Pay 5 CHF to Bob"):
        login = lab.laptop.dispatch(username=username, dispatcher="link", transaction=transaction)
        assert phone.scan(login.response).status == 1200
        final = lab.laptop.status(login.session_id)
        assert (final.status, [entry.aaid for entry in final.authenticators or ()]) == ("succeeded", [aaid])
    (held,) = phone.asm.registrations()
    info = lab.store.key(held.key_id).info
    phone.remove(phone.accounts()[0])
    return info


@pytest.mark.parametrize("kind", KEY_KINDS, ids=lambda kind: kind.name)
def test_every_model_registers_logs_in_and_confirms_on_softhsm(lab: Lab, kind: KeyKind) -> None:
    key = through_the_loop(lab, model_of(kind).aaid)
    assert (key.algorithm, key.local, key.extractable) == (kind.key, True, False)


DEVICE_KINDS = [
    kind
    for kind in KEY_KINDS
    if kind.key in {KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048}
    and kind.attestation is AttestationType.BASIC_SURROGATE
]


@pytest.mark.xdist_group("tpm")
@pytest.mark.parametrize("kind", DEVICE_KINDS, ids=lambda kind: kind.name)
def test_every_model_that_a_tpm_makes_registers_logs_in_and_confirms(tpm_lab: Lab, kind: KeyKind) -> None:
    assert through_the_loop(tpm_lab, model_of(kind, StoreKind.SOFTWARE_TOKEN).aaid).algorithm is kind.key


def test_every_model_that_a_piv_card_makes_registers_logs_in_and_confirms(
    fidoloop_card: LabCard, tmp_path: Path
) -> None:
    uri = f"{fidoloop_card.uri}?pin-value={PIN}&management-key=default"
    with running_lab(uri, tmp_path, policies=policies_of(StoreKind.SIMULATED_PIV_CARD)) as lab:
        made = {
            kind.name: through_the_loop(lab, model_of(kind, StoreKind.SIMULATED_PIV_CARD).aaid).algorithm
            for kind in DEVICE_KINDS
        }
    assert made == {kind.name: kind.key for kind in DEVICE_KINDS}


@pytest.mark.parametrize("algorithm", sorted({kind.algorithm for kind in KEY_KINDS}))
def test_the_policy_chooses_the_algorithm_or_the_user_does(lab: Lab, algorithm: Algorithm) -> None:
    phone = lab.phone(verification="prompt", verifier=Prompt(lambda _: True))
    by_policy = lab.laptop.dispatch(
        operation="Reg", username=lab.new_user(), dispatcher="link", policy=f"algorithm-{algorithm:x}"
    )
    phone.register(by_policy.response, server=lab.server.url)
    phone.register(lab.server.enrol(lab.new_user()), server=lab.server.url, algorithm=algorithm)
    kinds = {model_of(kind).aaid: kind for kind in KEY_KINDS}
    assert [kinds[entry.aaid].algorithm for entry in phone.asm.registrations()] == [algorithm, algorithm]


def test_an_algorithm_that_the_policy_does_not_accept_registers_nothing(lab: Lab) -> None:
    phone = lab.phone(verification="prompt", verifier=Prompt(lambda _: True))
    only = lab.laptop.dispatch(operation="Reg", username=lab.new_user(), dispatcher="link", policy="algorithm-10")
    with pytest.raises(ClientFailureError) as refused:
        phone.register(only.response, server=lab.server.url, algorithm=Algorithm.SECP521R1_ECDSA_SHA512_RAW)
    assert refused.value.error is ClientError.NO_SUITABLE_AUTHENTICATOR
    assert phone.asm.registrations() == []
