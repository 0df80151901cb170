"""The laptop's station: a GATT server, by bumble, that advertises and serves one payload (docs/ble.md)."""

import asyncio
from typing import Final

from bumble.att import ATT_Error, ErrorCode
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service

from fidoloop.bridge.ble import profile
from fidoloop.bridge.errors import MalformedPayloadError

ADVERTISING_INTERVAL_MILLISECONDS: Final = 100.0
CONNECTION_SECONDS: Final = 30.0
"""So long may one phone be connected: the next one is waiting."""
_FLAGS: Final = bytes([AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE | AdvertisingData.Flags.BR_EDR_NOT_SUPPORTED])
_READABLE: Final = Characteristic.READABLE
_WRITEABLE: Final = Characteristic.WRITEABLE


class Station:
    """Serves `payload`, and the `nonce` of a dispatch linked by BLE, to whoever is near; shows `short_id`.

    It takes a bumble device that is powered on; `start` and `stop` advertising and sending.
    """

    def __init__(
        self,
        device: Device,
        payload: bytes,
        *,
        nonce: str | None = None,
        short_id: str | None = None,
        connection_seconds: float = CONNECTION_SECONDS,
    ) -> None:
        """Take what is to be served. Raises MalformedPayloadError where it is empty or too long."""
        self.short_id = short_id or profile.new_short_id()
        self._device = device
        self._payload = payload
        self._info = profile.Info.of(payload)
        self._nonce = (nonce or "").encode("utf-8")
        if len(self._nonce) > profile.MAX_NONCE_BYTES:
            raise MalformedPayloadError(f"a nonce of {len(self._nonce)} bytes")
        self._connection_seconds = connection_seconds
        self._sending: dict[Connection, asyncio.Task[None]] = {}
        self._limits: dict[Connection, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._data: Characteristic[bytes] = Characteristic(
            profile.DATA,
            Characteristic.Properties.NOTIFY,
            Characteristic.Permissions(0),
            CharacteristicValue(read=_no_read, write=_no_write),
        )

    async def start(self) -> None:
        """Advertise, and take connections."""
        self._device.add_service(self._service())
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)
        await self._device.start_advertising(
            auto_restart=True,
            advertising_data=bytes(
                AdvertisingData(
                    [
                        (AdvertisingData.FLAGS, _FLAGS),
                        (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(UUID(profile.SERVICE))),
                        (AdvertisingData.COMPLETE_LOCAL_NAME, profile.local_name(self.short_id).encode("ascii")),
                    ]
                )
            ),
            advertising_interval_min=ADVERTISING_INTERVAL_MILLISECONDS,
            advertising_interval_max=ADVERTISING_INTERVAL_MILLISECONDS,
        )

    async def stop(self) -> None:
        """Stop advertising, and hang up."""
        await self._device.stop_advertising()
        for connection in list(self._device.connections.values()):
            await connection.disconnect()
        self._device.remove_listener(Device.EVENT_CONNECTION, self._on_connection)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def info(self, connection: Connection) -> bytes:
        """Return the value of the info characteristic."""
        return self._info.to_bytes()

    async def nonce(self, connection: Connection) -> bytes:
        """Return the value of the nonce characteristic; empty where the dispatch is not linked by BLE."""
        return self._nonce

    async def control(self, connection: Connection, value: bytes) -> None:
        """Take a value of the control characteristic: send from that offset on, and stop what was being sent.

        Raises:
            ATT_Error: it is no offset in the payload.
        """
        offset = profile.decode_offset(value, self._info.length)
        self._stop_sending(connection)
        if offset is None:
            raise ATT_Error(ErrorCode.INVALID_OFFSET)
        self._sending[connection] = asyncio.create_task(self.send(connection, offset))

    async def send(self, connection: Connection, offset: int) -> None:
        """Notify `connection` of the payload from `offset` on."""
        while offset < len(self._payload):
            value = profile.chunk(self._payload, offset, connection.att_mtu)
            await self.notify(connection, value)
            offset = offset - len(profile.encode_offset(0)) + len(value)

    async def notify(self, connection: Connection, value: bytes) -> None:
        """Send one notification of the data characteristic."""
        await self._device.gatt_server.notify_subscriber(connection, self._data, value)

    def _service(self) -> Service:
        properties = Characteristic.Properties
        return Service(
            profile.SERVICE,
            [
                Characteristic(
                    profile.INFO, properties.READ, _READABLE, CharacteristicValue(read=self.info, write=_no_write)
                ),
                Characteristic(
                    profile.CONTROL,
                    properties.WRITE,
                    _WRITEABLE,
                    CharacteristicValue(read=_no_read, write=self.control),
                ),
                self._data,
                Characteristic(
                    profile.NONCE, properties.READ, _READABLE, CharacteristicValue(read=self.nonce, write=_no_write)
                ),
            ],
        )

    def _on_connection(self, connection: Connection) -> None:
        limit = asyncio.get_running_loop().call_later(self._connection_seconds, self._hang_up, connection)
        self._limits[connection] = limit
        connection.on(Connection.EVENT_DISCONNECTION, lambda *_: self._on_disconnection(connection))

    def _on_disconnection(self, connection: Connection) -> None:
        self._stop_sending(connection)
        self._limits.pop(connection).cancel()

    def _stop_sending(self, connection: Connection) -> None:
        sending = self._sending.pop(connection, None)
        if sending is not None:
            sending.cancel()

    def _hang_up(self, connection: Connection) -> None:
        ending = asyncio.ensure_future(connection.disconnect())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


def _no_read(_: Connection) -> bytes:
    # bumble holds no one to a characteristic's permissions.
    raise ATT_Error(ErrorCode.READ_NOT_PERMITTED)


def _no_write(_: Connection, __: bytes) -> None:
    raise ATT_Error(ErrorCode.WRITE_NOT_PERMITTED)
