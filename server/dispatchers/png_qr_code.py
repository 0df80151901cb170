"""`png-qr-code`: the payload as a QR code that the laptop shows (HTTP contract 8)."""

import asyncio
from typing import Any

from fidoloop.protocol import outofband
from fidoloop.server.config import ServerConfig
from fidoloop.server.dispatchers import drawing


class PngQrCodeDispatcher:
    """Answers with the base64 PNG of base64url(payload)."""

    name = "png-qr-code"
    needs_target = False

    def check(self, information: dict[str, Any]) -> None:
        """Check encodingParameters. Raises MalformedError."""
        drawing.parse_options(information)

    async def dispatch(self, config: ServerConfig, payload: str, information: dict[str, Any]) -> str:
        """Draw. Raises DispatchError where the payload does not fit."""
        options = drawing.parse_options(information)
        return await asyncio.to_thread(drawing.draw_base64, outofband.qr_text(payload), options)
