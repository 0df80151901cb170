"""`png-qr-code`: the payload as a QR code that the laptop shows (HTTP contract 8)."""

import asyncio
from typing import Any, ClassVar

from fidoloop.protocol import outofband
from fidoloop.server.dispatchers import drawing
from fidoloop.server.dispatchers.base import Outgoing, ShownDispatcher


class PngQrCodeDispatcher(ShownDispatcher):
    """Answers with the base64 PNG of base64url(payload)."""

    name: ClassVar[str] = "png-qr-code"

    def check(self, information: dict[str, Any]) -> None:
        """Check encodingParameters. Raises MalformedError."""
        drawing.parse_options(information)

    async def dispatch(self, outgoing: Outgoing) -> str:
        """Draw. Raises DispatchError where the payload does not fit."""
        options = drawing.parse_options(outgoing.information)
        return await asyncio.to_thread(drawing.draw_base64, outofband.qr_text(outgoing.payload), options)
