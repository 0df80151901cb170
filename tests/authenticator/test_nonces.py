import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from fidoloop.authenticator.nonces import NONCE_BYTES, fresh_nonce

FORK = """
import os
from fidoloop.authenticator.nonces import fresh_nonce
fresh_nonce()
for _ in range(3):
    if os.fork() == 0:
        break
os.write(1, b"".join(fresh_nonce().hex().encode() + b"\\n" for _ in range(200)))
"""


def test_no_nonce_is_given_twice_to_any_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        nonces = [
            nonce for batch in pool.map(lambda _: [fresh_nonce() for _ in range(500)], range(16)) for nonce in batch
        ]
    assert len(set(nonces)) == len(nonces) == 8000
    assert {len(nonce) for nonce in nonces} == {NONCE_BYTES}


def test_a_child_has_nonces_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True, env=os.environ.copy()
    )
    nonces = done.stdout.split()
    assert len(set(nonces)) == len(nonces) == 800
