"""Changes of sessions told to the other processes on a PostgreSQL database, by LISTEN and NOTIFY.

They are hints: whoever waits for a session asks the store again anyway, so that one that is lost, or a database that
has no NOTIFY, costs a moment and nothing else.
"""

import asyncio
import logging

from fidoloop.server.changes import Changes

CHANNEL = "fidoloop_session"
RETRY_SECONDS = 1.0
GATHER_SECONDS = 0.01
"""After telling, so long nothing is told: under load there would be a statement for every log-in or two."""
_MOST_IDS = 200
"""In one notification, which holds 8000 bytes at most."""
_log = logging.getLogger("fidoloop.server")


class SharedChanges(Changes):
    """Changes that other processes hear of, and of theirs, while `share` runs."""

    def __init__(self) -> None:
        super().__init__()
        self._unsaid: list[str] = []
        self._more = asyncio.Event()
        self._sharing = False

    def announce(self, session_id: str) -> None:
        """Wake those who wait for `session_id`, here and elsewhere."""
        super().announce(session_id)
        if self._sharing:
            self._unsaid.append(session_id)
            self._more.set()

    async def share(self, url: str) -> None:
        """Tell and hear for ever, connecting again after a failure; ends where the database has no such thing."""
        import asyncpg

        from fidoloop.server.store.postgres import ACQUIRE_SECONDS, FAILURES, MOST_SECONDS

        while True:
            try:
                # A database that hangs is told from one that is quiet by what it is told itself.
                connection = await asyncpg.connect(url, timeout=ACQUIRE_SECONDS, command_timeout=MOST_SECONDS)
                await self._share_by(connection)
            except asyncpg.FeatureNotSupportedError:
                _log.info("the database has no LISTEN: changes made by other processes are found by asking")
                return
            except FAILURES as error:
                _log.warning("changes are not told to other processes: %s", type(error).__name__)
            finally:
                self._sharing = False
                self._unsaid.clear()
            await asyncio.sleep(RETRY_SECONDS)

    async def _share_by(self, connection: "asyncpg.Connection") -> None:  # type: ignore[name-defined]  # noqa: F821
        own = connection.get_server_pid()

        def hear(_: object, sender: int, __: str, payload: str) -> None:
            if sender != own:
                for session_id in payload.split():
                    Changes.announce(self, session_id)

        try:
            # It ends in the middle of nothing: what waits is woken, and fails at its next statement.
            connection.add_termination_listener(lambda _: self._more.set())
            await connection.add_listener(CHANNEL, hear)
            self._sharing = True
            while True:
                await self._more.wait()
                self._more.clear()
                said, self._unsaid = self._unsaid, []
                for at in range(0, max(len(said), 1), _MOST_IDS):
                    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, " ".join(said[at : at + _MOST_IDS]))
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            connection.terminate()
