"""The whole loop on every kind of device: registration, log-in, transaction confirmation and deregistration."""

import json

import pytest

from fidoloop.authenticator.attestation import ATTESTATION_KEY_ID, CA_KEY_ID
from fidoloop.cli.exits import Exit
from fidoloop.demo import STEPS
from fidoloop.hsm.keystore import KeyAlgorithm
from fidoloop.hsm.open import open_key_store
from fidoloop.lab_card import PIN, LabCard
from tests.cli.command import invoke


def run_the_loop(uri: str, *, aaid: str, encryption_key: str) -> None:
    """Run all of it and hold what travelled against what the device can do; the run leaves no key of its own."""
    with open_key_store(uri) as store:
        before = {info.key_id for info in store.list()}
    done = invoke("demo", "--keys", uri, "--json")
    assert done.code == Exit.OK, done.all
    assert done.json["result"] == "succeeded"
    assert [step["n"] for step in done.json["steps"]] == list(range(1, len(STEPS) + 1))
    (registration,) = [one for one in done.json["exchanges"] if one["path"].endswith("/uaf/1.1/registration")]
    context = json.loads(json.loads(registration["request_body"])["context"])
    assert context["dispatchTarget"]["encryptionKey"]["kty"] == encryption_key
    assert aaid in "".join(one["response_body"] for one in done.json["exchanges"])
    with open_key_store(uri) as store:
        left = [info for info in store.list() if info.key_id not in before]
    assert {info.key_id for info in left} <= {ATTESTATION_KEY_ID, CA_KEY_ID}
    assert all(info.algorithm is KeyAlgorithm.P256 for info in left)


def test_the_whole_loop_on_softhsm(fidoloop_token: str) -> None:
    run_the_loop(fidoloop_token, aaid="F10B#0111", encryption_key="EC")


@pytest.mark.xdist_group("p11-kit")
def test_the_whole_loop_through_p11_kit_proxy(fidoloop_proxy_token: str) -> None:
    run_the_loop(fidoloop_proxy_token, aaid="F10B#0111", encryption_key="EC")


@pytest.mark.xdist_group("p11-kit")
def test_the_whole_loop_with_the_keys_in_another_process(fidoloop_remote_token: str) -> None:
    run_the_loop(fidoloop_remote_token, aaid="F10B#0111", encryption_key="RSA")


@pytest.mark.xdist_group("tpm")
def test_the_whole_loop_on_a_tpm(fidoloop_tpm_token: str) -> None:
    run_the_loop(fidoloop_tpm_token, aaid="F10B#0211", encryption_key="RSA")


def test_the_whole_loop_on_a_piv_card(fidoloop_card: LabCard) -> None:
    uri = f"{fidoloop_card.uri}?pin-value={PIN}&management-key=default"
    run_the_loop(uri, aaid="F10B#0511", encryption_key="EC")
    with open_key_store(uri) as store:
        assert [info.key_id for info in store.list()] == [ATTESTATION_KEY_ID]  # one slot, whatever vouches for it
