"""The phone's keys are in hardware, whichever, and never leave it."""

import pytest

from fidoloop.api.laptop import Laptop
from fidoloop.api.phone import Phone


@pytest.mark.parametrize("fidoloop_key_store", ["softhsm", "tpm", "piv"], indirect=True)
def test_a_log_in_by_a_key_that_cannot_leave_its_device(
    fidoloop_phone: Phone, fidoloop_laptop: Laptop, fidoloop_user: str
) -> None:
    keys = [key for key in fidoloop_phone.store.list() if not key.label.startswith("fidoloop attestation")]
    assert keys
    assert all(key.sensitive and not key.extractable for key in keys)
    dispatched = fidoloop_laptop.dispatch(fidoloop_user, dispatcher="png-qr-code")
    fidoloop_phone.redeem(fidoloop_laptop.shown(dispatched))
    assert fidoloop_laptop.status(dispatched.session_id).status == "succeeded"
