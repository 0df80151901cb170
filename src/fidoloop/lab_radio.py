"""Radios without radio: bumble controllers that share one virtual link (bumble.link), for tests and measurements."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal
from bumble.controller import Controller
from bumble.device import Device
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport import open_transport
from bumble.transport.common import AsyncPipeSink


class VirtualAir:
    """What its devices hear each other through; belongs to the running event loop."""

    def __init__(self) -> None:
        """Make a link without devices."""
        self._link = LocalLink()

    async def device(self) -> Device:
        """Return a new device in range of the others, powered on."""
        controller = Controller("lab", link=self._link)
        host = Host(controller, AsyncPipeSink(controller))
        device = Device(name="lab", address=Address.generate_static_address(), host=host)
        await device.power_on()
        return device


@contextmanager
def radios_on_sockets(directory: Path, count: int) -> Iterator[list[str]]:
    """Yield the HCI transports of `count` radios in range of each other, on Unix sockets: one process may open each."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_on_sockets(directory, count)) as transports,
    ):
        yield transports


@asynccontextmanager
async def _on_sockets(directory: Path, count: int) -> AsyncIterator[list[str]]:
    link = LocalLink()
    paths = [directory / f"radio-{number}" for number in range(count)]
    async with AsyncExitStack() as opened:
        for path in paths:
            served = await opened.enter_async_context(await open_transport(f"unix-server:{path}"))
            opened.callback(served.server.close)
            Controller(path.name, host_source=served.source, host_sink=served.sink, link=link)
        yield [f"unix-client:{path}" for path in paths]
