"""Push messages between the thread that takes them in and the one that the user is asked on."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fidoloop.protocol.web_push import PushRefusal

MOST_WAITING = 32


@dataclass(frozen=True, slots=True)
class PushMessage:
    """A message that was let in. `topic` names what it replaces; `ttl` are the seconds it is worth anything.

    `digest` is of its body, `until` (epoch seconds) when its VAPID token runs out.
    """

    path: str
    plaintext: bytes
    topic: str
    ttl: int
    digest: bytes
    until: int


class QueueFullError(PushRefusal):
    """More messages wait than anybody will answer."""


class PushQueue:
    """Messages in the order in which they came; a newer one takes the place of one of its topic (RFC 8030 5.4)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[tuple[str, str], tuple[PushMessage, float]] = {}
        self._number = 0
        self._closed = False

    def put(self, message: PushMessage) -> None:
        """Take a message in. Raises QueueFullError."""
        with self._changed:
            self._number += 1
            key = (message.path, message.topic or f"\0{self._number}")
            replaced = self._waiting.pop(key, None)
            if replaced is None and len(self._waiting) >= MOST_WAITING:
                raise QueueFullError("too many push messages wait for the user")
            self._waiting[key] = (message, self._clock() + message.ttl)
            self._changed.notify()

    def get(self) -> PushMessage | None:
        """Return the next message that is still worth something, waiting for it; None when the queue is closed."""
        with self._changed:
            while True:
                while self._waiting:
                    message, deadline = self._waiting.pop(next(iter(self._waiting)))
                    # Whoever pushes with a TTL of 0 wants it delivered now or never: it is here now.
                    if message.ttl == 0 or self._clock() < deadline:
                        return message
                if self._closed:
                    return None
                self._changed.wait()

    def close(self) -> None:
        """Have `get` return None once nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
