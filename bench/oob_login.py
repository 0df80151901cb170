"""oob-login-qr: one whole out-of-band log-in on loopback over TLS, from the dispatch to `succeeded`."""

import base64
import datetime
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.measure import Row
from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.models import token_statements
from fidoloop.authenticator.user_verification import AutoApprove
from fidoloop.bridge.http import Server
from fidoloop.bridge.laptop import Laptop
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.bridge.scan import scan_image
from fidoloop.hsm.open import open_key_store
from fidoloop.lab import LabServer
from fidoloop.protocol.uaf.registry import UserVerification
from fidoloop.softhsm import current_softhsm_directory, make_softhsm_token

LOGINS = 100


def run() -> list[Row]:
    """Measure dispatch, QR drawing and reading, decryption in SoftHSM, redemption, signature and verification."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name, ExitStack() as opened:
        directory = Path(name)
        uri = make_softhsm_token(
            current_softhsm_directory() or directory / "softhsm", "bench-login", "123456", "123456"
        )
        store = opened.enter_context(open_key_store(uri))
        attest_init(store, now=datetime.datetime.now(datetime.UTC))
        server = LabServer(directory / "home")
        server.add_metadata(token_statements(store, UserVerification.NONE))
        server.add_user("alice")
        api_key = server.add_api_key()
        opened.enter_context(server)
        profile = Profile(directory / "phone.sqlite")
        opened.callback(profile.close)
        profile.create(keys_uri="pkcs11:", verification="auto", ca=str(server.ca))
        phone = opened.enter_context(Phone(profile, store, AutoApprove(), confirm=lambda _token: True))
        phone.register(server.enrol("alice"))
        laptop = Laptop(opened.enter_context(Server(server.url, ca=server.ca, api_key=api_key)))
        (target,) = laptop.targets("alice")
        spent = sorted(_login(laptop, phone, target.id, directory / "screen.png") for _ in range(LOGINS))
    return [
        Row("oob-login-qr", round(statistics.median(spent), 1), "ms, median"),
        Row("oob-login-qr-p99", round(statistics.quantiles(spent, n=100)[98], 1), "ms, 99th percentile"),
    ]


def _login(laptop: Laptop, phone: Phone, target_id: str, screen: Path) -> float:
    started = time.perf_counter()
    dispatched = laptop.dispatch(username="alice", target_id=target_id, dispatcher="png-qr-code")
    screen.write_bytes(base64.b64decode(dispatched.response))
    phone.scan(scan_image(screen))
    if laptop.status(dispatched.session_id).status != "succeeded":
        raise RuntimeError("the log-in did not succeed")
    return (time.perf_counter() - started) * 1000
