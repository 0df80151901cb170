"""A command in a thread of its own: its host hears what it waits for, and may cancel it."""

import threading
from collections.abc import Callable
from typing import Self

from fido2.ctap import STATUS


class RunningCommand:
    """A command that was begun. `status` is what its host is told while it goes on, `cancelled` is set to call it off.

    A fault of the command ends its thread as faults do.
    """

    def __init__(self, work: Callable[[Self], bytes]) -> None:
        """Begin `work`, which is handed this object and returns the answer."""
        self.cancelled = threading.Event()
        self.status = STATUS.PROCESSING
        self._answer: bytes | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name="CTAP2 command", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Tell whether it is over."""
        return not self._thread.is_alive()

    def waits_for(self, status: STATUS) -> None:
        """Have the host be told this."""
        self.status = status

    def wait(self, seconds: float) -> bool:
        """Wait for its end for so long; tell whether it is over."""
        self._thread.join(seconds)
        return self.is_over

    def answer(self) -> bytes | None:
        """Return the answer of a command that is over, None where it was a fault that ended it."""
        return self._answer

    def _run(self, work: Callable[[Self], bytes]) -> None:
        self._answer = work(self)
