"""open-softhsm-N: milliseconds to open a store whose token holds N keys, in a fresh process, and python-pkcs11 alone.

Both load the module, find the token and log in; the store also asks the token what it is. SoftHSM reads every object
of a token when it starts, which is nearly all of it. N = 10,000 is measured where BENCH_MANY_KEYS is set.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism

from bench.apart import report
from bench.measure import Row
from fidoloop.hsm.uri import parse_uri
from fidoloop.softhsm import make_softhsm_token

PIN = "1234567"
SIZES = (10, 100, 1000, *((10_000,) if os.environ.get("BENCH_MANY_KEYS") else ()))
P256 = bytes.fromhex("06082a8648ce3d030107")

SUBJECT = """
import sys, time
import fidoloop.hsm.pkcs11.store  # loaded by the first opening otherwise
from fidoloop.hsm.open import open_key_store
began = time.perf_counter()
store = open_key_store(sys.argv[1])
print((time.perf_counter() - began) * 1000)
"""
FLOOR = """
import sys, time, pkcs11
from fidoloop.hsm.uri import parse_uri
uri = parse_uri(sys.argv[1])
began = time.perf_counter()
pkcs11.lib(uri.module_path).get_token(token_label=uri.token).open(rw=True, user_pin=uri.pin())
print((time.perf_counter() - began) * 1000)
"""


def run() -> list[Row]:
    """Make the tokens, then measure each by turns."""
    # SoftHSM syncs every new object to the disk; in memory, keys are made many times faster.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a private directory in it
    rows = []
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-", dir=memory) as directory:
        for keys in SIZES:
            rows.append(_measure(Path(directory) / str(keys), keys))
    return rows


def _measure(directory: Path, keys: int) -> Row:
    """Return the row of one size; each has a directory of its own, since SoftHSM reads all tokens in one."""
    script = (
        f"from bench.open_store import fill; from pathlib import Path; print(fill(Path({str(directory)!r}), {keys}))"
    )
    uri = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    environment = os.environ | {"SOFTHSM2_CONF": str(directory / "softhsm2.conf")}

    def once(code: str) -> float:
        command = [sys.executable, "-c", code, uri]
        return float(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)

    rounds = 9 if keys <= 1000 else 3
    once(SUBJECT)
    pairs = [(once(SUBJECT), once(FLOOR)) for _ in range(rounds)]
    return Row(
        f"open-softhsm-{keys}",
        round(statistics.median(value for value, _ in pairs), 1),
        "ms",
        round(statistics.median(floor for _, floor in pairs), 1),
        round(statistics.median(floor / value for value, floor in pairs), 3),
    )


def fill(directory: Path, keys: int) -> str:
    """Make a token with this many P-256 keys and return its URI. One process makes one."""
    uri = make_softhsm_token(directory, f"bench-{keys}", PIN, PIN)
    parsed = parse_uri(uri)
    assert parsed.module_path is not None
    session = pkcs11.lib(parsed.module_path).get_token(token_label=parsed.token).open(rw=True, user_pin=PIN)
    domain = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P256}, local=True)
    for number in range(keys):
        domain.generate_keypair(
            id=number.to_bytes(4), label=f"filler {number}", store=True, mechanism=Mechanism.EC_KEY_PAIR_GEN
        )
    return uri


if __name__ == "__main__":
    report(run())
