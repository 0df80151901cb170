"""Sending answers over ASGI."""

import asyncio
from contextlib import suppress

from starlette.types import Receive, Send

from fidoloop.server.http.messages import EVENT_STREAM, EventStream, Response
from fidoloop.server.http.secure_headers import SecureHeaders
from fidoloop.server.request_ids import HEADER as REQUEST_ID


async def send_response(response: Response, request_id: bytes, secure: SecureHeaders, send: Send) -> None:
    """Send a whole answer. It is never cached, unless it says otherwise itself."""
    headers = [
        (b"content-length", str(len(response.body)).encode("ascii")),
        (REQUEST_ID, request_id),
        *response.headers,
        *secure.missing_from(response),
    ]
    if response.content_type:
        headers.append((b"content-type", response.content_type.encode("ascii")))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def send_events(
    stream: EventStream, request_id: bytes, secure: SecureHeaders, receive: Receive, send: Send
) -> None:
    """Send server-sent events until they end or the client is gone."""
    headers = [(b"content-type", EVENT_STREAM.encode("ascii")), (REQUEST_ID, request_id), *secure.always]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    writing = asyncio.ensure_future(_write(stream, send))
    watching = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait((writing, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writing, watching):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _write(stream: EventStream, send: Send) -> None:
    async for event in stream.events:
        text = ": still here\n\n" if event is None else f"event: {event[0]}\ndata: {event[1]}\n\n"
        await send({"type": "http.response.body", "body": text.encode("utf-8"), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
