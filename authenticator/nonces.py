"""Nonces of assertions: the kernel's random bytes, asked for many at a time, because each asking costs as much as
writing an assertion does.
"""

import os

NONCE_BYTES = 16
_AT_ONCE = 64

_ready: list[bytes] = []
# A child that kept them would use its parent's nonces again.
os.register_at_fork(after_in_child=_ready.clear)


def fresh_nonce() -> bytes:
    """Return 16 random bytes that nobody was given before; safe between threads and after a fork."""
    try:
        return _ready.pop()
    except IndexError:
        block = os.urandom(NONCE_BYTES * _AT_ONCE)
        nonces = [block[start : start + NONCE_BYTES] for start in range(0, len(block), NONCE_BYTES)]
        _ready.extend(nonces[1:])
        return nonces[0]
