"""The server under measurement, with one route beside it that does nothing: the floor of the same process."""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn

from fidoloop.server.app import create_app
from fidoloop.server.config import load_config
from fidoloop.server.store.open import open_store

MINIMAL_PATH = "/minimal"


async def serve(home: Path) -> None:
    """Listen on a free port of the loopback, print it, and serve until terminated."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listener.getsockname()[1]
    config = load_config(home, base_url=f"http://127.0.0.1:{port}")
    store = await open_store(config.database)
    app: Any = create_app(config, store)

    async def with_minimal(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        if scope["type"] == "http" and scope["path"] == MINIMAL_PATH:
            while (await receive()).get("more_body"):
                continue
            headers = [(b"content-type", b"application/json"), (b"content-length", b"15")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"status":"ok"}'})
            return
        await app(scope, receive, send)

    settings = uvicorn.Config(with_minimal, lifespan="off", log_config=None, access_log=False, server_header=False)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await uvicorn.Server(settings).serve(sockets=[listener])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
        runner.run(serve(Path(sys.argv[1])))
