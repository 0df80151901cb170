"""oob-login-qr: one whole out-of-band log-in on loopback over TLS, from the dispatch to `succeeded`."""

import base64
import time

from bench.lab_loop import USERNAME, Loop, lab_loop
from bench.measure import Row
from fidoloop.bridge.scan import scan_image


def run() -> list[Row]:
    """Measure dispatch, QR drawing and reading, decryption in SoftHSM, redemption, signature and verification."""
    with lab_loop() as loop:
        return loop.rows("oob-login-qr", lambda: _login(loop))


def _login(loop: Loop) -> float:
    screen = loop.directory / "screen.png"
    started = time.perf_counter()
    dispatched = loop.laptop.dispatch(username=USERNAME, target_id=loop.target_id, dispatcher="png-qr-code")
    screen.write_bytes(base64.b64decode(dispatched.response))
    loop.phone.scan(scan_image(screen))
    loop.check(dispatched)
    return (time.perf_counter() - started) * 1000
