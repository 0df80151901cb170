"""oob-login-web-push: as oob-login-qr, the token pushed to the phone's own push service over TLS."""

import time

from bench.lab_loop import USERNAME, Loop, lab_loop
from bench.measure import Row
from fidoloop.bridge.push.listener import PushListener
from fidoloop.bridge.push.queue import PushQueue
from fidoloop.bridge.push.receiver import PushReceiver
from fidoloop.bridge.push.service import PATH, PushService
from fidoloop.server.tls import ensure_lab_tls

SETTINGS = '[server.web_push]\nnetworks = ["127.0.0.0/8"]\n[server.rate_limits]\nuser_pushes = 0\n'


def run() -> list[Row]:
    """Measure dispatch, push and its decryption, decryption in SoftHSM, redemption, signature and verification."""
    with lab_loop(SETTINGS) as loop:
        tls = ensure_lab_tls(loop.directory / "home" / "tls", name="phone")
        queue, receiver = PushQueue(), PushReceiver(loop.phone)
        service = PushService(queue)
        with PushListener(service, host="127.0.0.1", port=0, tls=(tls.certificate, tls.key)) as listener:
            base = f"https://localhost:{listener.port}"
            (account,) = loop.phone.accounts()
            service.watch([receiver.subscribe(account, lambda one: f"{base}{PATH}{one.path}")], audience=base)
            # Neither laptop nor phone makes the round trip by which the server pushes.
            return loop.rows("oob-login-web-push", lambda: _login(loop, queue, receiver), others=1)


def _login(loop: Loop, queue: PushQueue, receiver: PushReceiver) -> float:
    started = time.perf_counter()
    dispatched = loop.laptop.dispatch(username=USERNAME, target_id=loop.target_id)
    message = queue.get()
    if message is None:
        raise RuntimeError("nothing was pushed")
    receiver.follow(message)
    loop.check(dispatched)
    return (time.perf_counter() - started) * 1000
