"""uaf-sign-softhsm: an authentication assertion made in SoftHSM, against a bare python-pkcs11 sign loop."""

import datetime
import hashlib
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pkcs11

from bench.measure import ROUNDS, Row, rate, row_of
from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import AutoApprove
from fidoloop.hsm.keystore import KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.softhsm import find_softhsm_module, make_softhsm_token

PIN = "1234567"
APP_ID = "https://localhost/nevisfido/uaf/1.1/facets"
AAID = "F10B#0113"
FEW, MANY = 10, int(os.environ.get("BENCH_MANY", "1000"))


class SigningPhone:
    """A phone whose token holds `keys` keys."""

    def __init__(self, directory: Path, keys: int, opened: ExitStack) -> None:
        self.label = f"bench-{keys}"
        self.store: KeyStore = opened.enter_context(open_key_store(make_softhsm_token(directory, self.label, PIN, PIN)))
        attest_init(self.store, now=datetime.datetime.now(datetime.UTC))
        state = AuthenticatorState(directory / f"{self.label}.sqlite", self.store)
        opened.callback(state.close)
        self.asm = Asm(self.store, state, AutoApprove(), caller_id="bench")
        self.key_id, _ = self.asm.register(
            AAID, app_id=APP_ID, username="alice", final_challenge="AAAA", attestation_type=0x3E07
        )
        # Two attestation keys and the user's are there; the rest only fills the token.
        for number in range(keys - 3):
            self.store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=os.urandom(16), label=f"filler {number}")

    def sign(self) -> bytes:
        """Make one authentication assertion, as the UAF client asks the ASM for it."""
        return self.asm.authenticate(AAID, app_id=APP_ID, final_challenge="AAAA", key_ids=[self.key_id])


def bare_loop(label: str, key_id: bytes) -> Any:  # noqa: ANN401 - a class python-pkcs11 makes for the object
    """Return the same key through python-pkcs11 alone; our store has logged the process in already."""
    # The path as the store resolved it: python-pkcs11 would initialise the module a second time under another.
    session = pkcs11.lib(os.path.realpath(find_softhsm_module())).get_token(token_label=label).open(rw=True)
    return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, id=key_id)


def run() -> list[Row]:
    """Measure with 10 and with 1,000 keys in the token."""
    # SoftHSM syncs every new object to the disk; in memory, 1,000 keys are made in a fifth of the time.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a private directory in it
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-", dir=memory) as directory, ExitStack() as opened:
        few = SigningPhone(Path(directory), FEW, opened)
        many = SigningPhone(Path(directory), MANY, opened)
        few.sign()  # logs in again where opening the second token started the module anew
        bare = bare_loop(few.label, few.key_id)
        digest = hashlib.sha256(b"bench").digest()

        def floor() -> object:
            return bare.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)

        for work in (few.sign, many.sign, floor):
            rate(work, 0.3)
        turns = [(rate(few.sign, 0.2), rate(floor, 0.2), rate(many.sign, 0.2)) for _ in range(ROUNDS)]
    return [
        row_of("uaf-sign-softhsm", [(few_rate, floor_rate) for few_rate, floor_rate, _ in turns], wanted=0.80),
        row_of("uaf-sign-softhsm-1000", [(many_rate, few_rate) for few_rate, _, many_rate in turns], wanted=0.9),
    ]
