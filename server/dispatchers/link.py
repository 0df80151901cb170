"""`link`: the payload as a link that opens the app (HTTP contract 8)."""

from typing import ClassVar

from fidoloop.protocol import outofband
from fidoloop.server.dispatchers.base import Outgoing, ShownDispatcher


class LinkDispatcher(ShownDispatcher):
    """Answers with the link."""

    name: ClassVar[str] = "link"

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def dispatch(self, outgoing: Outgoing) -> str:
        """Return the link."""
        return outofband.link(self._base_url, outgoing.payload)
