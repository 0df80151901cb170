"""The server under measurement, with one service beside its own that does next to nothing: the floor.

It is a service like the others: found by the same dispatch, held to its media types, its body read under the same
limit, a message decoded and a message encoded. Only what a service is there for is missing. With a second argument it
profiles itself into that file (profiles.py).
"""

import asyncio
import cProfile
import signal
import socket
import sys
import time
from pathlib import Path

import uvicorn

from fidoloop.bridge.http import UAF_MEDIA_TYPE
from fidoloop.bridge.load.services import request_head
from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.messages import GetUafRequest, ServerResponse
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server.app import app_of
from fidoloop.server.config import CONTEXT_PATH, load_config
from fidoloop.server.environment import Environment
from fidoloop.server.http.connections import Connections
from fidoloop.server.http.dispatch import Endpoint, Kind, uaf_response
from fidoloop.server.http.http_server import HttpServer
from fidoloop.server.http.messages import FIDO_UAF, Request, Response
from fidoloop.server.open_files import most_connections
from fidoloop.server.routes import make_routes
from fidoloop.server.run import beside, opened, spare_collections

# Not off: what counting costs is measured too.
LIMITS = {"rate_limits.exempt": "", "rate_limits.requests": 10_000_000, "rate_limits.begun": 10_000_000}
_PATH = "/minimal"
MINIMAL_PATH = f"{CONTEXT_PATH}{_PATH}"
MINIMAL_HEAD = request_head(_PATH, "127.0.0.1", media=UAF_MEDIA_TYPE, accept=UAF_MEDIA_TYPE)
MINIMAL_BODY = b'{"op":"Auth","context":"{}"}'


async def minimal(_: Environment, request: Request) -> Response:
    """Read a message and answer with one."""
    strictjson.decode(request.body, GetUafRequest)
    return uaf_response(ServerResponse(int(StatusCode.OK)))


def profile_between_signals(path: Path) -> None:
    """Profile from SIGUSR1 to SIGUSR2, by processor time; then write the profile and print a line."""
    profile, loop = cProfile.Profile(time.process_time), asyncio.get_running_loop()

    def stop() -> None:
        profile.disable()
        profile.dump_stats(path)
        sys.stdout.write("\n")
        sys.stdout.flush()

    loop.add_signal_handler(signal.SIGUSR1, profile.enable)
    loop.add_signal_handler(signal.SIGUSR2, stop)


async def serve(home: Path) -> None:
    """Listen on a free port of the loopback, print it, and serve until terminated."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listener.getsockname()[1]
    config = load_config(home, {"base_url": f"http://127.0.0.1:{port}", **LIMITS})
    endpoint = Endpoint(handler=minimal, kind=Kind.UAF_RESPONSE, consumes=FIDO_UAF, produces=FIDO_UAF)
    async with opened(config, None) as environment:
        app = app_of(environment, make_routes() | {MINIMAL_PATH: {"POST": endpoint}})
        settings = uvicorn.Config(
            app, lifespan="off", ws="none", log_config=None, access_log=False, proxy_headers=False, server_header=False
        )
        connections = Connections(config.connections, most=most_connections(config.connections.most))
        server = HttpServer(settings, connections, environment.changes, lambda: _say(port), drain_seconds=0)
        spare_collections()
        if len(sys.argv) > 2:
            profile_between_signals(Path(sys.argv[2]))
        async with beside(connections.sweep_for_ever()):
            await server.serve(sockets=[listener])


def _say(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
        runner.run(serve(Path(sys.argv[1])))
