"""bleak over a bumble device instead of the operating system's Bluetooth: a USB dongle, or a virtual link.

Passed to bleak as `backend=`: `BleakScanner(backend=BumbleScanner, radio=device)`, `BleakClient(found,
backend=BumbleClient)`.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeVar, cast

from bleak.args import SizedBuffer
from bleak.assigned_numbers import CharacteristicPropertyName
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from bumble.att import ATT_Error
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt import Characteristic
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import Address

T = TypeVar("T")
ATT_MTU: Final = 247
"""Asked for after connecting; as much as one LE data packet holds."""
_PROPERTIES: Final[dict[Characteristic.Properties, CharacteristicPropertyName]] = {
    Characteristic.Properties.READ: "read",
    Characteristic.Properties.WRITE_WITHOUT_RESPONSE: "write-without-response",
    Characteristic.Properties.WRITE: "write",
    Characteristic.Properties.NOTIFY: "notify",
    Characteristic.Properties.INDICATE: "indicate",
}
_UUID_LISTS: Final = (
    AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.Type.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
)


class BumbleScanner(BaseBleakScanner):
    """Scans with the bumble device `radio`."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: Literal["active", "passive"],
        *,
        radio: Device,
        **_others: Any,  # noqa: ANN401 - other platforms' options
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._active = scanning_mode == "active"
        self._radio = radio

    async def start(self) -> None:
        """Start scanning."""
        self.seen_devices = {}
        self._radio.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        await _told(self._radio.start_scanning(active=self._active))

    async def stop(self) -> None:
        """Stop scanning."""
        self._radio.remove_listener(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        await _told(self._radio.stop_scanning())

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        data = advertisement.data
        uuids = [str(_uuid(one)) for kind in _UUID_LISTS for raw in data.get_all(kind, raw=True) for one in _split(raw)]
        if not advertisement.is_connectable or not self.is_allowed_uuid(uuids):
            return
        names = data.get_all(AdvertisingData.Type.COMPLETE_LOCAL_NAME, raw=True)
        name = names[0].decode("utf-8", "replace") if names else None
        told = AdvertisementData(
            local_name=name,
            manufacturer_data={},
            service_data={},
            service_uuids=uuids,
            tx_power=None,
            rssi=advertisement.rssi,
            platform_data=(advertisement,),
        )
        address = str(advertisement.address)
        details = (self._radio, advertisement.address)
        self.call_detection_callbacks(self.create_or_update_device(address, address, name, details, told), told)


class BumbleClient(BaseBleakClient):
    """Connects to what a BumbleScanner found; of `services` only, and `mtu` is the ATT MTU it asks for."""

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        services: set[str] | None = None,
        mtu: int = ATT_MTU,
        **_others: Any,  # noqa: ANN401 - other platforms' options
    ) -> None:
        if not isinstance(address_or_ble_device, BLEDevice):
            raise BleakError("connect to a device that was found by scanning")
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._radio, self._peer_address = cast(tuple[Device, Address], address_or_ble_device.details)
        self._name = address_or_ble_device.name or address_or_ble_device.address
        self._wanted_services = [UUID(one) for one in services or ()]
        self._wanted_mtu = mtu
        self._connection: Connection | None = None
        self._closing = False

    @property
    def name(self) -> str:
        """What the peer calls itself, else its address."""
        return self._name

    @property
    def mtu_size(self) -> int:
        """The ATT MTU of the connection."""
        return self._connected.att_mtu

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def _connected(self) -> Connection:
        if self._connection is None:
            raise BleakError("not connected")
        return self._connection

    async def connect(self, pair: bool, **kwargs: Any) -> None:  # noqa: ANN401 - the base's
        """Connect, agree on the MTU, and discover the services."""
        if pair:
            await self.pair()
        connection = await _told(self._radio.connect_le(self._peer_address, timeout=self._timeout))
        self._connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        try:
            peer = Peer(connection)
            await self._asked(peer.request_mtu(self._wanted_mtu))
            for service in await self._asked(peer.discover_services(self._wanted_services)):
                for characteristic in await self._asked(service.discover_characteristics()):
                    await self._asked(characteristic.discover_descriptors())
        except BaseException:
            await self.disconnect()
            raise
        self.services = self._collection(peer)

    async def disconnect(self) -> None:
        """Hang up; nothing where there is no connection."""
        if self._connection is not None:
            self._closing = True
            await _told(self._connection.disconnect())

    async def pair(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the base's
        """Raise BleakError: no bonds are made."""
        raise BleakError("no bonds are made")

    async def unpair(self) -> None:
        """Raise BleakError: no bonds are made."""
        raise BleakError("no bonds are made")

    async def read_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        *,
        use_cached: bool = False,
        **kwargs: Any,  # noqa: ANN401 - the base's
    ) -> bytearray:
        """Read a characteristic, however long."""
        return bytearray(await self._asked(self._connected.gatt_client.read_value(characteristic.handle)))

    async def read_gatt_descriptor(
        self,
        descriptor: BleakGATTDescriptor,
        *,
        use_cached: bool = False,
        **kwargs: Any,  # noqa: ANN401 - the base's
    ) -> bytearray:
        """Read a descriptor."""
        return bytearray(await self._asked(self._connected.gatt_client.read_value(descriptor.handle)))

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool) -> None:
        """Write a characteristic."""
        await self._asked(
            self._connected.gatt_client.write_value(characteristic.handle, bytes(data), with_response=response)
        )

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        """Write a descriptor."""
        await self._asked(self._connected.gatt_client.write_value(descriptor.handle, bytes(data), with_response=True))

    async def start_notify(
        self,
        characteristic: BleakGATTCharacteristic,
        callback: NotifyCallback,
        **kwargs: Any,  # noqa: ANN401 - the base's
    ) -> None:
        """Subscribe to a characteristic."""
        proxy = cast("CharacteristicProxy[bytes]", characteristic.obj)
        await self._asked(self._connected.gatt_client.subscribe(proxy, lambda value: callback(bytearray(value))))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """End the subscription."""
        await self._asked(
            self._connected.gatt_client.unsubscribe(cast("CharacteristicProxy[bytes]", characteristic.obj))
        )

    def _on_disconnection(self, _reason: int) -> None:
        self._connection = None
        self.services = None
        if self._disconnected_callback is not None and not self._closing:
            self._disconnected_callback()

    async def _asked(self, work: Awaitable[T]) -> T:
        """Await a GATT procedure; bumble cancels it where the connection goes, which must not look like our end."""
        try:
            return await _told(work)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._connection is None and task is not None and not task.cancelling():
                raise BleakError("disconnected") from None
            raise

    def _collection(self, peer: Peer) -> BleakGATTServiceCollection:
        collection = BleakGATTServiceCollection()
        for service in peer.services:
            found = BleakGATTService(service, service.handle, str(_uuid(bytes(service.uuid))))
            collection.add_service(found)
            for one in service.characteristics:
                properties = [name for flag, name in _PROPERTIES.items() if flag in one.properties]
                characteristic = BleakGATTCharacteristic(
                    one, one.handle, str(_uuid(bytes(one.uuid))), properties, self._room, found
                )
                collection.add_characteristic(characteristic)
                for descriptor in one.descriptors:
                    uuid_ = str(_uuid(bytes(descriptor.type)))
                    collection.add_descriptor(BleakGATTDescriptor(descriptor, descriptor.handle, uuid_, characteristic))
        return collection

    def _room(self) -> int:
        return self.mtu_size - 3


async def _told(work: Awaitable[T]) -> T:
    """Await `work` with bumble's errors as bleak's."""
    try:
        return await work
    except ATT_Error as error:
        raise BleakGATTProtocolError(BleakGATTProtocolErrorCode(error.error_code)) from None
    except (BaseBumbleError, TimeoutError) as error:
        raise BleakError(f"{type(error).__name__}: {error}") from None


def _split(raw: bytes) -> list[bytes]:
    return [raw[start : start + 16] for start in range(0, len(raw) - 15, 16)]


def _uuid(raw: bytes) -> uuid.UUID:
    """Return the 128-bit UUID of bytes as they are on the air, 16, 32 or 128 bits, the least significant first."""
    return uuid.UUID(bytes=UUID.from_bytes(raw).to_bytes(force_128=True)[::-1])
