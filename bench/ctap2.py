"""ctap2-…: getAssertion in SoftHSM against a bare python-pkcs11 sign loop, and through pcscd to a contactless card."""

import datetime
import hashlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pkcs11
from fido2 import cbor
from fido2.ctap2.base import Ctap2
from fido2.hid import CTAPHID
from fido2.pcsc import CtapPcscDevice

from bench.apart import report
from bench.measure import Row, side_by_side
from bench.uaf_sign import bare_loop
from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.fido_applet import FidoApplet
from fidoloop.authenticator.user_verification import InTheField
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd
from fidoloop.softhsm import make_softhsm_token

PIN = "1234567"
LABEL = "bench-ctap2"
RP_ID = "rp.example"
HASH = hashlib.sha256(b"bench").digest()
ASSERTIONS = 200
WANTED = 0.60


class CountingDevice(CtapPcscDevice):
    """python-fido2's PC/SC client, which counts what it sends."""

    apdus = 0

    def apdu_exchange(self, apdu: bytes, protocol: int | None = None) -> tuple[bytes, int, int]:
        """Count one command and its answer."""
        self.apdus += 1
        return super().apdu_exchange(apdu, protocol)


@contextmanager
def security_key(opened: ExitStack) -> Iterator[tuple[Authenticator, bytes, bytes]]:
    """An authenticator with one credential, the message that asks for an assertion, and the key's CKA_ID."""
    directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="fidoloop-bench-")))
    store = opened.enter_context(open_key_store(make_softhsm_token(directory, LABEL, PIN, PIN)))
    attest_init(store, now=datetime.datetime.now(datetime.UTC))
    state = Ctap2State(directory / "fido.sqlite", store)
    opened.callback(state.close)
    authenticator = Authenticator(store, state, InTheField(), transports=("nfc",))
    made = Ctap2(InProcessDevice(authenticator)).make_credential(
        HASH, {"id": RP_ID}, {"id": b"alice"}, [{"type": "public-key", "alg": -7}]
    )
    assert made.auth_data.credential_data is not None
    credential_id = made.auth_data.credential_data.credential_id
    message = b"\x02" + cbor.encode({1: RP_ID, 2: HASH, 3: [{"type": "public-key", "id": credential_id}]})
    (key_id,) = (info.key_id for info in store.list() if info.key_id.startswith(b"ctap2:"))
    yield authenticator, message, key_id


def in_process(authenticator: Authenticator, message: bytes, bare: Any) -> Row:  # noqa: ANN401 - python-pkcs11's key
    """Measure messages in and out, against signatures alone."""

    def floor() -> object:
        return bare.sign(HASH, mechanism=pkcs11.Mechanism.ECDSA)

    return side_by_side(
        "ctap2-get-assertion-softhsm", lambda: authenticator.process(message), floor, wanted=WANTED, seconds=0.3
    )


def over_pcscd(authenticator: Authenticator, message: bytes, opened: ExitStack) -> list[Row]:
    """Measure python-fido2's PC/SC client, card and host in this process."""
    pcscd = opened.enter_context(PrivatePcscd())
    opened.enter_context(pcscd.use())
    factory = Factory.create(now=datetime.datetime.now(datetime.UTC))
    card = opened.enter_context(LabCard(pcscd, factory, FidoApplet(authenticator)))
    (device,) = CountingDevice.list_devices(card.reader)
    opened.callback(device.close)
    assert isinstance(device, CountingDevice)
    device.apdus = 0
    seconds = []
    for _ in range(ASSERTIONS):
        started = time.perf_counter()
        answer = device.call(CTAPHID.CBOR, message)
        seconds.append(time.perf_counter() - started)
        assert answer[0] == 0
    return [
        Row("ctap2-get-assertion-pcscd", round(1000 * statistics.median(seconds), 2), "ms"),
        Row("ctap2-apdus-per-assertion", round(device.apdus / ASSERTIONS, 2), "APDUs"),
    ]


def run() -> list[Row]:
    """Measure both with one credential."""
    with ExitStack() as opened:
        authenticator, message, key_id = opened.enter_context(security_key(opened))
        row = in_process(authenticator, message, bare_loop(LABEL, key_id))
        return [row, *over_pcscd(authenticator, message, opened)]


if __name__ == "__main__":
    report(run())
