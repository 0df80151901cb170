"""`ble`: the payload for a laptop to serve over GATT; encrypted, since who is near may read it (HTTP contract 8)."""

from typing import ClassVar

from fidoloop.protocol import outofband
from fidoloop.server.dispatchers.base import DispatchError, Outgoing, ShownDispatcher


class BleDispatcher(ShownDispatcher):
    """Answers with base64url(payload); there is no dispatch without a target, hence without encryption."""

    name: ClassVar[str] = "ble"
    needs_target: ClassVar[bool] = True
    shown: ClassVar[bool] = False

    async def dispatch(self, outgoing: Outgoing) -> str:
        """Return the payload. Raises DispatchError where no phone would take it."""
        if len(outgoing.payload) > outofband.MAX_PAYLOAD_CHARACTERS:
            raise DispatchError(f"{len(outgoing.payload)} characters are more than a phone takes by BLE")
        return outofband.qr_text(outgoing.payload)
