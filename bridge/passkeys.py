"""Passkeys: a CTAP2 authenticator over the phone's key store, against a server's FIDO2 services (HTTP contract 12).

The client's part of WebAuthn (client data, choice of options) is python-fido2's; its origin is the server's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.user_verification import UserVerifier
from fidoloop.bridge.errors import BridgeError, ServerRefusedError, UserDeclinedError
from fidoloop.bridge.http import Answer, Server
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.facets import origin
from fidoloop.protocol.uaf.registry import UserVerification

_DECLINED = frozenset(
    {
        CtapError.ERR.OPERATION_DENIED,
        CtapError.ERR.KEEPALIVE_CANCEL,
        CtapError.ERR.ACTION_TIMEOUT,
        CtapError.ERR.USER_ACTION_TIMEOUT,
    }
)


class PasskeyError(BridgeError):
    """The authenticator cannot do what the server's options ask for."""

    code = "passkey"


class NoPasskeyError(PasskeyError):
    """There is no passkey for this server, or for this user of it."""

    code = "no_passkey"


class PasskeyExistsError(PasskeyError):
    """There is a passkey for this user already."""

    code = "passkey_exists"


class Passkey(msgspec.Struct, frozen=True):
    """A discoverable credential; `id` in base64url."""

    id: str
    rp_id: str
    username: str | None


class LoggedIn(NamedTuple):
    """Who was logged in, by which credential, and whether the user was verified."""

    username: str
    credential_id: str
    user_verified: bool


class _Told(msgspec.Struct, frozen=True):
    """What every answer of the FIDO2 services says."""

    status: str
    errorMessage: str = ""
    fido2SessionId: str = ""


class _Status(msgspec.Struct, frozen=True):
    status: str
    userId: str = ""
    credentialId: str = ""
    userVerified: bool = False


class Passkeys:
    """The passkeys of a phone. Not safe between threads.

    Every method raises BridgeError; KeyStoreError from the token, TamperedStateError from the file.
    """

    def __init__(self, path: Path, store: KeyStore, verifier: UserVerifier) -> None:
        """Open the authenticator whose state is in the phone's file at `path`.

        Raises:
            PasskeyError: the phone asks nobody, and FIDO2 wants somebody to be there.
        """
        if verifier.method is UserVerification.NONE:
            raise PasskeyError(
                "a phone that asks nobody (--uv auto) makes no passkeys: FIDO2 tests the user's presence"
            )
        self._verifier = verifier
        self._state = Ctap2State(path, store)
        try:
            self._authenticator = Authenticator(store, self._state, verifier)
        except BaseException:
            self._state.close()
            raise
        self._device = InProcessDevice(self._authenticator)

    def close(self) -> None:
        """Close the file."""
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def register(self, server: Server, username: str, *, display_name: str | None = None) -> Passkey:
        """Make a discoverable credential for a user and register it; `server` holds an API credential.

        Where the server refuses it, the credential is destroyed again.

        Raises:
            PasskeyExistsError, PasskeyError, UserDeclinedError, ServerRefusedError, NetworkError.
        """
        body = {
            "username": username,
            "displayName": display_name or username,
            "attestation": "direct",
            "authenticatorSelection": {"residentKey": "required"},
            "extensions": {"credProps": True},
        }
        options = _options(server.post("/fido2/attestation/options", body, authorised=True))
        made = self.create(server.base_url, options)
        passkey = Passkey(str(made["id"]), options["rp"]["id"], username)
        try:
            _told(server.post("/fido2/attestation/result", made, authorised=True))
        except BridgeError:
            self.delete(passkey.id)
            raise
        return passkey

    def login(self, server: Server, username: str | None = None) -> LoggedIn:
        """Log in as a user, or as whoever a passkey for this server is of.

        Raises:
            NoPasskeyError, PasskeyError, UserDeclinedError, ServerRefusedError, NetworkError.
        """
        asked = {"userVerification": "preferred"} | ({} if username is None else {"username": username})
        options = _options(server.post("/fido2/attestation/options", asked))
        _told(server.post("/fido2/assertion/result", self.get(server.base_url, options)))
        answer = server.post("/fido2/status", {"fido2SessionId": options["fido2SessionId"]})
        status = answer.decode(_Status)
        if status.status != "succeeded":
            raise ServerRefusedError(answer.status, f"the session is {status.status}")
        return LoggedIn(status.userId, status.credentialId, status.userVerified)

    def create(self, base_url: str, options: dict[str, Any]) -> dict[str, Any]:
        """Make a credential by creation options, as navigator.credentials.create() does at that server.

        Raises:
            PasskeyExistsError, PasskeyError, UserDeclinedError.
        """
        with _client_errors():
            return _as_json(self._client(base_url).make_credential(options))

    def get(self, base_url: str, options: dict[str, Any]) -> dict[str, Any]:
        """Sign by request options, as navigator.credentials.get() does; of several credentials the user chooses.

        Raises:
            NoPasskeyError, PasskeyError, UserDeclinedError.
        """
        with _client_errors():
            selection: Any = self._client(base_url).get_assertion(options)
        found = selection.get_assertions()
        index = 0 if len(found) == 1 else self._verifier.choose([self._username(one.credential["id"]) for one in found])
        return _as_json(selection.get_response(index))

    def list(self) -> tuple[Passkey, ...]:
        """Return the discoverable credentials, in the order they were made."""
        return tuple(
            Passkey(base64url.encode(one.credential_id), one.rp_id, one.user_name)
            for one in self._state.residents().values()
        )

    def delete(self, credential_id: str) -> Passkey:
        """Destroy a credential's key in the token, and forget it. Raises NoPasskeyError."""
        found = next((one for one in self.list() if one.id == credential_id), None)
        core = self._authenticator.core
        stored = None if found is None else self._state.residents()[base64url.decode(found.id)]
        credential = None if stored is None else core.credential(stored.rp_id_hash, stored.credential_id)
        if found is None or credential is None:
            raise NoPasskeyError("no such passkey")
        core.state.remove(credential.key_id)
        core.destroy_key(credential.key_id)
        return found

    def _client(self, base_url: str) -> Any:  # noqa: ANN401  # it takes mappings, too, whatever its types say
        own = origin(base_url)
        assert own is not None
        return Fido2Client(self._device, DefaultClientDataCollector(own))

    def _username(self, credential_id: bytes) -> str:
        stored = self._state.residents().get(credential_id)
        return (stored.user_name if stored is not None else None) or base64url.encode(credential_id)


def _options(answer: Answer) -> dict[str, Any]:
    _told(answer)
    found: dict[str, Any] = strictjson.loads(answer.body)
    return found


def _told(answer: Answer) -> _Told:
    """Return what an answer says. Raises ServerRefusedError with the server's own words."""
    try:
        told = strictjson.decode(answer.body, _Told)
    except MalformedError:
        raise ServerRefusedError(answer.status, answer.problem_detail()) from None
    if answer.status != 200 or told.status != "ok":
        raise ServerRefusedError(answer.status, told.errorMessage[:300])
    return told


def _as_json(response: Any) -> dict[str, Any]:  # noqa: ANN401  # python-fido2's data classes
    return dict(response)


@contextmanager
def _client_errors() -> Iterator[None]:
    """Turn what the client or the authenticator refuses into the phone's errors."""
    try:
        yield
    except ClientError as error:
        raise _in_words(error) from None
    except ValueError as error:
        raise PasskeyError(f"the server's options cannot be read: {error}") from None


def _in_words(error: ClientError) -> BridgeError:
    code = error.cause.code if isinstance(error.cause, CtapError) else None
    if code in _DECLINED or error.code == ClientError.ERR.TIMEOUT:
        return UserDeclinedError("the user said no, or did not answer")
    if code == CtapError.ERR.CREDENTIAL_EXCLUDED:
        return PasskeyExistsError("there is a passkey for this user on this phone already")
    if code == CtapError.ERR.NO_CREDENTIALS or error.code == ClientError.ERR.DEVICE_INELIGIBLE:
        return NoPasskeyError("there is no passkey for this server, or this user, on this phone")
    return PasskeyError(f"{error.code.name}: {error.cause or 'the options ask for what there is not'}")
