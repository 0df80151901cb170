"""page-stream: from the answer to the request that changed a log-in's state to the event in the browser's stream."""

import ssl
import statistics
import tempfile
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import httpx2

from bench.measure import Row
from fidoloop.lab import LabServer
from fidoloop.protocol import outofband

LOGINS = 100
_UAF = "application/fido+uaf"


def run() -> list[Row]:
    """Begin log-ins as the page does, redeem their tokens, and note when the page's stream says so."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name, LabServer(Path(name) / "home") as server:
        headers = {"origin": server.url, "accept": "application/json"}
        with httpx2.Client(
            base_url=server.url, verify=ssl.create_default_context(cafile=server.ca), headers=headers
        ) as browser:
            spent = sorted(_delay(browser) for _ in range(LOGINS))
    return [Row("page-stream-delay", round(statistics.median(spent), 2), "ms, median")]


def _delay(browser: httpx2.Client) -> float:
    begun = browser.post("/web/login", json={"by": "qr"}).raise_for_status().json()
    token = outofband.open_payload(outofband.decode_scanned(begun["link"]), None).token
    events: SimpleQueue[tuple[float, str]] = SimpleQueue()
    watching = threading.Thread(target=_watch, args=(browser, begun["id"], events), daemon=True)
    watching.start()
    events.get()
    redeemed = browser.post(
        "/nevisfido/token/redeem/authentication", json={"token": token}, headers={"accept": _UAF}
    ).raise_for_status()
    answered = time.perf_counter()
    at, state = events.get()
    if redeemed.json()["statusCode"] != 1200 or '"redeemed"' not in state:
        raise RuntimeError("the token was not redeemed")
    browser.post("/web/operation/cancel", json={"id": begun["id"]}).raise_for_status()
    watching.join()
    return (at - answered) * 1000


def _watch(browser: httpx2.Client, operation: str, events: "SimpleQueue[tuple[float, str]]") -> None:
    wanted = {"accept": "text/event-stream"}
    with browser.stream("POST", "/web/operation/stream", json={"id": operation}, headers=wanted) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                events.put((time.perf_counter(), line))
