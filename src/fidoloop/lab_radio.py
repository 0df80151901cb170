"""Radios without radio: bumble devices whose controllers share one virtual link (bumble.link), in one process."""

from bumble.controller import Controller
from bumble.device import Device
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink


class VirtualAir:
    """What its devices hear each other through; belongs to the running event loop."""

    def __init__(self) -> None:
        """Make a link without devices."""
        self._link = LocalLink()

    async def device(self) -> Device:
        """Return a new device in range of the others, powered on."""
        address = Address.generate_static_address()
        controller = Controller("lab", link=self._link)
        device = Device(name="lab", address=address, host=Host(controller, AsyncPipeSink(controller)))
        await device.power_on()
        return device
