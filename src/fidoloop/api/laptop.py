"""A laptop that wants somebody logged in: it asks for a token, shows it, and follows what comes of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from fidoloop.bridge import laptop as bridge
from fidoloop.bridge import qr_images
from fidoloop.bridge.ble.profile import served_payload
from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.bridge.http import Recorder, Server
from fidoloop.bridge.laptop import Dispatched
from fidoloop.protocol import base64url
from fidoloop.protocol.outofband import DispatchTargetEntry, StatusResponse

__all__ = ["DispatchTargetEntry", "Dispatched", "Laptop", "StatusResponse"]


class Laptop:
    """A laptop at one server; a context manager. Errors are BridgeError (fidoloop.api.phone)."""

    def __init__(
        self,
        server: str,
        *,
        api_key: str | None = None,
        ca: Path | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Take the server's base URL; nothing is sent yet.

        Args:
            server: the base URL.
            api_key: the API credential that dispatching and querying need.
            ca: PEM file of the CA to trust in the place of the system's; without it, plain http to this machine is
                allowed too.
            recorder: told of every exchange, as on the wire.

        Raises:
            NetworkError: no such URL, or no such CA file.
        """
        self._server = Server(server, ca=ca, insecure=ca is None, api_key=api_key, recorder=recorder)
        self._laptop = bridge.Laptop(self._server)

    def targets(self, username: str) -> tuple[DispatchTargetEntry, ...]:
        """Return the dispatch targets of a user."""
        return self._laptop.targets(username)

    def dispatch(
        self,
        username: str | None = None,
        *,
        operation: Literal["Reg", "Auth", "Dereg"] = "Auth",
        target_id: str | None = None,
        dispatcher: str | None = None,
        policy: str | None = None,
        transaction: str | None = None,
        context: dict[str, Any] | None = None,
        linked_by: Literal["number", "ble"] | None = None,
    ) -> Dispatched:
        """Have the server make a token and dispatch it.

        Args:
            username: whose; None: whoever answers.
            operation: registration, authentication or deregistration.
            target_id: the dispatch target; None: the server's choice.
            dispatcher: `png-qr-code`, `link`, `web-push` and so on; None: the target's own.
            policy: the name of one of the server's policies.
            transaction: a text to confirm.
            context: further members of the request's context.
            linked_by: what shows that the phone is before this laptop: a `number` that its user types
                (`linking.content` of the answer), or what `serving` tells by Bluetooth.
        """
        return self._laptop.dispatch(
            operation=operation,
            username=username,
            target_id=target_id,
            dispatcher=dispatcher,
            policy=policy,
            transaction=transaction,
            context=context,
            information={"channelLinking": {"mode": linked_by}} if linked_by else None,
        )

    def shown(self, dispatched: Dispatched) -> str:
        """Return what a phone reads from the laptop's screen: the text in the QR code's pixels, or the link.

        Raises:
            MalformedPayloadError: the picture holds no QR code.
        """
        if "qr" not in dispatched.dispatcher:
            return dispatched.response
        png = base64url.decode_lenient(dispatched.response, "$.dispatcherInformation.response")
        found = qr_images.read_bytes(png, dispatched.dispatcher)
        if len(found) != 1:
            raise MalformedPayloadError(f"{dispatched.dispatcher}: {len(found)} QR codes in the picture")
        return found[0]

    @contextlib.contextmanager
    def serving(self, dispatched: Dispatched, radio: str) -> Iterator[str]:
        """Serve what dispatcher `ble` gave by Bluetooth while the block runs; yield the station's short id.

        `radio` is an HCI transport, as `usb:0`; needs the extra `ble`.

        Raises:
            DeviceMissingError: no such radio; ImportError: the extra is not installed.
        """
        from fidoloop.bridge.ble.blocking import serving

        nonce = dispatched.linking.content if dispatched.linking else None
        with serving(served_payload(dispatched.response), nonce=nonce, transport=radio) as short_id:
            yield short_id

    def status(self, session_id: str) -> StatusResponse:
        """Return where a session stands."""
        return self._laptop.status(session_id)

    def follow(self, session_id: str, *, timeout: float = 60.0) -> StatusResponse:
        """Wait for the end of a session, `timeout` seconds at most, and return where it stands then."""
        return self._laptop.follow(session_id, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
