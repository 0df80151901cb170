"""Radios: a bumble device on any HCI transport, such as a USB dongle (`usb:0`) or `tcp-client:HOST:PORT`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bumble.core import BaseBumbleError
from bumble.device import Device
from bumble.hci import Address
from bumble.transport import open_transport
from usb1 import USBError

from fidoloop.bridge.ble.bumble_backend import BumbleClient, BumbleScanner
from fidoloop.bridge.ble.central import Adapter
from fidoloop.bridge.errors import DeviceMissingError

# What peers do wrong is answered on the air; without a handler bumble would tell it on the terminal.
logging.getLogger("bumble").addHandler(logging.NullHandler())


@asynccontextmanager
async def open_radio(transport: str, name: str = "fidoloop") -> AsyncIterator[Device]:
    """Yield a device, powered on, on the HCI `transport`, named as bumble names them; the device is called `name`.

    Raises:
        DeviceMissingError: there is none, or it does not answer.
    """
    try:
        opened = await open_transport(transport)
    except (BaseBumbleError, USBError, OSError, ValueError, AssertionError, ImportError) as error:
        reason = str(error) or type(error).__name__
        raise DeviceMissingError(f"the Bluetooth radio {transport} cannot be opened: {reason}") from None
    async with opened:
        device = Device.with_hci(name, Address.generate_static_address(), opened.source, opened.sink)
        try:
            await device.power_on()
        except (BaseBumbleError, TimeoutError) as error:
            raise DeviceMissingError(f"the Bluetooth radio {transport} does not answer: {error}") from None
        try:
            yield device
        finally:
            await device.power_off()


def bumble_adapter(device: Device) -> Adapter:
    """Return how bleak scans and connects by `device`."""
    return Adapter({"backend": BumbleScanner, "radio": device}, {"backend": BumbleClient})
