"""A thread that ends calls into a device which outlast their limit."""

import threading
import time
from typing import Final

_TICK_SECONDS: Final = 0.25


class Watched:
    """Something that makes calls with a limit: it sets `deadline` before a call, and None after it.

    When that time has passed, `expired` is set and `hang_up` called, from another thread.
    """

    def __init__(self) -> None:
        """Nothing is in progress."""
        self.deadline: float | None = None
        self.expired = False

    def hang_up(self) -> None:
        """Make the call in progress return."""
        raise NotImplementedError


class Watchdog:
    """Looks at everything in `watched` four times a second, while any call is in progress or was just now."""

    def __init__(self) -> None:
        """Nothing is watched, no thread runs."""
        self.watched: set[Watched] = set()
        self.running = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread where it does not run."""
        with self._lock:
            if not self.running:
                self.running = True
                self._thread = threading.Thread(target=self._watch, name="device watchdog", daemon=True)
                self._thread.start()

    def pause(self) -> None:
        """End the thread; the next call starts it again."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            thread.join()
        self._stop.clear()
        self.running = False

    def after_fork_in_child(self) -> None:
        """Start anew: the parent's thread is not here."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = None
        self.running = False

    def _watch(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            now = time.monotonic()
            for one in list(self.watched):
                deadline = one.deadline
                if deadline is not None and now > deadline:
                    one.expired = True
                    one.hang_up()
            with self._lock:
                self.running = False
                # Whoever begins a call from here on sees that nothing runs; whoever began before is seen here.
                self.running = any(one.deadline is not None for one in list(self.watched))
                if not self.running:
                    return


watchdog: Final = Watchdog()
