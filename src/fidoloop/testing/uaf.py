"""The UAF services of a server, by paths of its own: for servers that know no dispatched tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fidoloop.api.phone import Phone, ServerRefusedError
from fidoloop.bridge.http import UAF_MEDIA_TYPE, Answer, Server
from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.messages import GetUafRequest, ReturnUafRequest, SendUafResponse, ServerResponse
from fidoloop.testing.messages import Message, Messages
from fidoloop.testing.server import ServerUnderTest

__all__ = ["UafServices"]
_OK = 1200


@dataclass(frozen=True)
class UafServices:
    """Brings UAF requests to phones and their responses back (UAF protocol, HTTPS transport: GetUAFRequest and so on).

    `paths` are by the names of --fidoloop-uaf-path. The API credential goes with what asks for a request.
    """

    server: ServerUnderTest
    paths: Mapping[str, str]
    messages: Messages

    def register(self, phone: Phone, username: str, **context: Any) -> Message:  # noqa: ANN401 - JSON
        """Register a phone for a user, and return the message with its response; it keeps the key that was accepted.

        `context` are further members of the request's context.

        Raises:
            ServerRefusedError: there is no request; ClientFailureError, NetworkError.
        """
        return self._carry_out(phone, "Reg", "registration", {"username": username, **context})

    def authenticate(self, phone: Phone, username: str | None = None, **context: Any) -> Message:  # noqa: ANN401 - JSON
        """Log a phone in, as a user or as whoever it is; as `register`."""
        named = {} if username is None else {"username": username}
        return self._carry_out(phone, "Auth", "authentication", {**named, **context})

    def _carry_out(
        self, phone: Phone, op: Literal["Reg", "Auth"], operation: str, context: dict[str, object]
    ) -> Message:
        with self._connection() as connection:
            asked = GetUafRequest(op, strictjson.encode(context))
            returned = self._post(connection, f"{operation}-request", asked).decode(ReturnUafRequest)
            if returned.statusCode != _OK or not returned.uafRequest:
                raise ServerRefusedError(returned.statusCode, f"no {operation} request")
            with phone.answering(self.server.url, returned.uafRequest) as answer:
                sent = self._post(connection, f"{operation}-response", SendUafResponse(answer.response))
                if sent.status == 200 and sent.decode(ServerResponse).statusCode == _OK:
                    answer.keep()
        return self.messages.last(self.paths[f"{operation}-response"])

    def _connection(self) -> Server:
        server = self.server
        return Server(
            server.url,
            ca=server.ca,
            insecure=server.ca is None,
            api_key=server.api_key,
            recorder=self.messages.record,
        )

    def _post(self, connection: Server, name: str, body: object) -> Answer:
        return connection.send(
            "POST",
            self.server.url + self.paths[name],
            content=strictjson.encode(body).encode("utf-8"),
            headers={"Content-Type": f"{UAF_MEDIA_TYPE};charset=UTF-8", "Accept": UAF_MEDIA_TYPE},
            authorised=self.server.api_key is not None and name.endswith("-request"),
        )
