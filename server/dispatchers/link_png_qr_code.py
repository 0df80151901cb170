"""`link-png-qr-code`: the link as a QR code, which a phone's own camera opens too (HTTP contract 8)."""

import asyncio
from typing import Any

from fidoloop.protocol import outofband
from fidoloop.server.config import ServerConfig
from fidoloop.server.dispatchers import drawing


class LinkPngQrCodeDispatcher:
    """Answers with the base64 PNG of the link."""

    name = "link-png-qr-code"
    needs_target = False

    def check(self, information: dict[str, Any]) -> None:
        """Check encodingParameters. Raises MalformedError."""
        drawing.parse_options(information)

    async def dispatch(self, config: ServerConfig, payload: str, information: dict[str, Any]) -> str:
        """Draw. Raises DispatchError where the link does not fit."""
        text = outofband.link(config.link_base_url, payload)
        return await asyncio.to_thread(drawing.draw_base64, text, drawing.parse_options(information))
