"""`link-png-qr-code`: the link as a QR code, which a phone's own camera opens too (HTTP contract 8)."""

import asyncio
from typing import Any, ClassVar

from fidoloop.protocol import outofband
from fidoloop.server.dispatchers import drawing
from fidoloop.server.dispatchers.base import Outgoing, ShownDispatcher


class LinkPngQrCodeDispatcher(ShownDispatcher):
    """Answers with the base64 PNG of the link."""

    name: ClassVar[str] = "link-png-qr-code"

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def check(self, information: dict[str, Any]) -> None:
        """Check encodingParameters. Raises MalformedError."""
        drawing.parse_options(information)

    async def dispatch(self, outgoing: Outgoing) -> str:
        """Draw. Raises DispatchError where the link does not fit."""
        text = outofband.link(self._base_url, outgoing.payload)
        return await asyncio.to_thread(drawing.draw_base64, text, drawing.parse_options(outgoing.information))
