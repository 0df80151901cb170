"""The authenticator on other key hardware: a PIV card, a TPM, keys in another process, a module behind a proxy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fido2.attestation.packed import PackedAttestation
from fido2.ctap import CtapError

from fidoloop.authenticator.attestation import attest_init
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.piv.slots import SLOTS
from fidoloop.lab_card import PIN as CARD_PIN
from fidoloop.lab_card import LabCard
from tests.authenticator.conftest import NOW
from tests.authenticator.ctap2.lab import ERR, HASH, PERMISSION, Lab, public_key
from tests.authenticator.ctap2.test_extensions import secret


@contextmanager
def running(store: KeyStore, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(store, tmp_path / "fido.sqlite")
    try:
        yield lab
    finally:
        lab.authenticator.core.destroy_all_keys()
        lab.state.close()


def everything(lab: Lab) -> None:
    """Every algorithm claimed, PIN, discoverable credentials, hmac-secret, reset."""
    algorithms = [entry["alg"] for entry in lab.info().algorithms]
    assert -7 in algorithms
    for algorithm in algorithms:
        made = lab.make(key_params=[{"type": "public-key", "alg": algorithm}], extensions={"hmac-secret": True})
        PackedAttestation().verify(made.att_stmt, made.auth_data, HASH)
        lab.get(made).verify(HASH, public_key(made))
    first = secret(lab, made)
    lab.set_pin()
    resident = lab.make(options={"rk": True}, **lab.proof(PERMISSION.MAKE_CREDENTIAL))
    lab.restart()
    assert secret(lab, made) == first
    found = lab.get(**lab.proof(PERMISSION.GET_ASSERTION))
    found.verify(HASH, public_key(resident))
    assert found.auth_data.is_user_verified()
    with pytest.raises(CtapError, match="PIN_INVALID"):
        lab.token(PERMISSION.GET_ASSERTION, pin="0000")
    lab.ctap.reset()
    assert lab.keys() == 0
    with pytest.raises(CtapError, match="NO_CREDENTIALS"):
        lab.get(resident)


def test_on_a_piv_card(fidoloop_card: LabCard, tmp_path: Path) -> None:
    uri = f"{fidoloop_card.uri}?pin-value={CARD_PIN}&management-key=default"
    with open_key_store(uri) as store, running(store, tmp_path) as lab:
        everything(lab)


def test_a_piv_card_that_is_full(fidoloop_card: LabCard, tmp_path: Path) -> None:
    uri = f"{fidoloop_card.uri}?pin-value={CARD_PIN}&management-key=default"
    with open_key_store(uri) as store:
        attest_init(store, now=NOW)
        for slot in SLOTS[:-2]:  # all but two are somebody else's
            fidoloop_card.store.state.objects.setdefault(slot.certificate_object, b"\x70\x00\x71\x01\x00")
        with running(store, tmp_path) as lab:
            made = lab.make()
            assert "x5c" not in made.att_stmt
            lab.make()
            with pytest.raises(CtapError) as caught:
                lab.make()
            assert caught.value.code is ERR.KEY_STORE_FULL
            lab.get(made)
            fidoloop_card.pull()
            with pytest.raises(CtapError) as caught:
                lab.get(made)
            assert caught.value.code is ERR.OTHER
            fidoloop_card.insert()
            lab.get(made)


@pytest.mark.xdist_group("tpm")
def test_on_a_tpm(fidoloop_tpm_token: str, tmp_path: Path) -> None:
    with open_key_store(fidoloop_tpm_token) as store, running(store, tmp_path) as lab:
        everything(lab)


@pytest.mark.xdist_group("p11-kit")
@pytest.mark.parametrize("token", ["fidoloop_proxy_token", "fidoloop_remote_token"])
def test_through_p11_kit(request: pytest.FixtureRequest, token: str, tmp_path: Path) -> None:
    with open_key_store(request.getfixturevalue(token)) as store, running(store, tmp_path) as lab:
        everything(lab)
