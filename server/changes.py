"""Who waits for a session to change, in this process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Wakes the status streams of this process when a session changes; other processes' changes they find by asking."""

    def __init__(self) -> None:
        self.leaving = False
        """Whether nobody should be sent here any more."""
        self.stopping = False
        """Whether streams are to end, since the server is about to."""
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def stop(self) -> None:
        """Have all streams end."""
        self.leaving = self.stopping = True
        for session_id in self._waiting:
            self.announce(session_id)

    def announce(self, session_id: str) -> None:
        """Wake those who wait for `session_id`."""
        for event in self._waiting.get(session_id, ()):
            event.set()

    @contextmanager
    def watch(self, session_id: str) -> Iterator["Watch"]:
        """Note changes of `session_id` from now on: one that comes while nobody waits for it is not lost."""
        event = asyncio.Event()
        self._waiting.setdefault(session_id, set()).add(event)
        try:
            yield Watch(event)
        finally:
            waiting = self._waiting[session_id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[session_id]


class Watch:
    """The changes of one session."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    async def changed(self, seconds: float) -> None:
        """Return when there was a change since the last call returned, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
