"""A proxy that ends TLS with a certificate of its own: an operator's load balancer, or whoever sits in the middle."""

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from fidoloop.server.tls import LabTls


@dataclass
class TlsProxy:
    """Listens on `port` of the loopback and passes everything on, over TLS, to the port `target`.

    Of a request's path it takes off `prefix`, as a proxy does that has several servers behind one name.
    """

    port: int
    target: int = 0
    prefix: str = ""

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.target, ssl=trusting)
        await asyncio.gather(_copy(reader, inner_writer, self.prefix), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prefix: str = "") -> None:
    # No client here sends a second request before the first is answered: one begins where what is read does.
    line = re.compile(rb"\A([A-Z]+ )" + re.escape(prefix.encode("ascii")))
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(line.sub(rb"\1", data))
            await writer.drain()
    writer.close()


@contextmanager
def tls_proxy(files: LabTls, prefix: str = "") -> Iterator[TlsProxy]:
    """Run a proxy on a free port while the context is open."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    proxy = TlsProxy(0, prefix=prefix)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    end = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(proxy.pass_on, "127.0.0.1", 0, ssl=context)
        proxy.port = server.sockets[0].getsockname()[1]
        ready.set()
        await end.wait()
        server.close()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield proxy
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()
