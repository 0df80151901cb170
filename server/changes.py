"""Who waits for a session to change, in this process."""

import asyncio


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

    async def wait(self, session_id: str, seconds: float) -> None:
        """Return when `session_id` changes, or after `seconds`."""
        event = asyncio.Event()
        self._waiting.setdefault(session_id, set()).add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            waiting = self._waiting[session_id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[session_id]
