"""`link`: the payload as a link that opens the app (HTTP contract 8)."""

from typing import Any

from fidoloop.protocol import outofband
from fidoloop.server.config import ServerConfig


class LinkDispatcher:
    """Answers with the link."""

    name = "link"
    needs_target = False

    def check(self, information: dict[str, Any]) -> None:
        """Take anything: a link has no options."""

    async def dispatch(self, config: ServerConfig, payload: str, information: dict[str, Any]) -> str:
        """Return the link."""
        return outofband.link(config.link_base_url, payload)
