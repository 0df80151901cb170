"""An authenticator on a bench: a user who does what the test says, a clock the test turns, and its power switch."""

import hashlib
import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fido2 import cbor
from fido2.ctap import STATUS, CtapError
from fido2.ctap2 import (  # type: ignore[attr-defined]  # the package's names, as its users import them
    AttestationResponse,
    ClientPin,
    Config,
    CredentialManagement,
    Ctap2,
    PinProtocolV1,
    PinProtocolV2,
)

from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.errors import AuthenticatorError
from fidoloop.authenticator.user_verification import VerificationRequest
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol.uaf.registry import UserVerification

ERR = CtapError.ERR
PERMISSION = ClientPin.PERMISSION
PIN = "2718"
RP_ID = "rp.example"
RP = {"id": RP_ID, "name": "A relying party"}
USER = {"id": b"user-1", "name": "alice", "displayName": "Alice A."}
ES256: list[Mapping[str, Any]] = [{"type": "public-key", "alg": -7}]
HASH = hashlib.sha256(b"client data").digest()
PROTOCOLS = {1: PinProtocolV1, 2: PinProtocolV2}


class User:
    """The user: `answer` is what happens next, an error or nothing; what was asked is kept."""

    def __init__(self, method: UserVerification = UserVerification.PRESENCE) -> None:
        self.method = method
        self.answer: AuthenticatorError | None = None
        self.asked: list[VerificationRequest] = []

    def verify(self, request: VerificationRequest) -> UserVerification:
        self.asked.append(request)
        if self.answer is not None:
            raise self.answer
        return self.method

    def choose(self, usernames: object) -> int:
        raise AssertionError("FIDO2 lets the platform choose")


class Lab:
    """One authenticator and python-fido2's view of it."""

    def __init__(self, store: KeyStore, path: Path, *, method: UserVerification = UserVerification.PRESENCE) -> None:
        self.store, self.path = store, path
        self.user = User(method)
        self.now = 1000.0
        self.start()

    def start(self) -> None:
        """Start the program anew on the same file."""
        self.state = Ctap2State(self.path, self.store)
        self.authenticator = Authenticator(self.store, self.state, self.user, clock=lambda: self.now)
        self.device = InProcessDevice(self.authenticator)
        self.ctap = Ctap2(self.device)

    def restart(self) -> None:
        self.state.close()
        self.start()

    @property
    def asked(self) -> int:
        return len(self.user.asked)

    def info(self) -> Any:  # noqa: ANN401  # python-fido2's data class
        return self.ctap.get_info()

    def send(self, command: int, parameters: Mapping[int, Any] | bytes | None = None) -> Any:  # noqa: ANN401  # CBOR
        """Send one command as it is and return its response. Raises CtapError."""
        content = parameters if isinstance(parameters, bytes) else cbor.encode(parameters or {})
        answer = self.authenticator.process(bytes((command,)) + (content if parameters is not None else b""))
        if answer[0]:
            raise CtapError(answer[0])
        return cbor.decode(answer[1:]) if answer[1:] else {}

    def make(self, **changes: Any) -> AttestationResponse:  # noqa: ANN401  # parameters of make_credential
        parameters: dict[str, Any] = {
            "client_data_hash": HASH,
            "rp": RP,
            "user": USER,
            "key_params": ES256,
            **changes,
        }
        return self.ctap.make_credential(**parameters)

    def resident(self, rp_id: str = RP_ID, user: bytes | None = None, **changes: Any) -> AttestationResponse:  # noqa: ANN401
        """Make a discoverable credential, of a new user if none is given."""
        name = user or f"user-{next(_numbers)}".encode()
        entity = {"id": name, "name": name.decode(), "displayName": name.decode().title()}
        return self.make(rp={"id": rp_id}, user=entity, options={"rk": True}, **changes)

    def get(self, *credentials: AttestationResponse, rp_id: Any = RP_ID, **changes: Any) -> Any:  # noqa: ANN401
        allow: list[Mapping[str, Any]] | None = [descriptor(one) for one in credentials] or None
        return self.ctap.get_assertion(rp_id, HASH, allow, **changes)

    def set_pin(self, pin: str = PIN) -> None:
        ClientPin(self.ctap).set_pin(pin)
        self.ctap = Ctap2(self.device)

    def client_pin(self, version: int = 2) -> ClientPin:
        return ClientPin(self.ctap, PROTOCOLS[version]())

    def token(self, permissions: PERMISSION, rp_id: str | None = RP_ID, *, version: int = 2, pin: str = PIN) -> bytes:
        return self.client_pin(version).get_pin_token(pin, permissions, rp_id)

    def proof(self, permissions: PERMISSION, rp_id: str | None = RP_ID, *, version: int = 2) -> dict[str, Any]:
        """Return pinUvAuthParam and protocol over HASH, with a token for just this."""
        token = self.token(permissions, rp_id, version=version)
        return {"pin_uv_param": PROTOCOLS[version]().authenticate(token, HASH), "pin_uv_protocol": version}

    def management(self, rp_id: str | None = None, *, version: int = 2) -> CredentialManagement:
        token = self.token(PERMISSION.CREDENTIAL_MGMT, rp_id, version=version)
        return CredentialManagement(self.ctap, PROTOCOLS[version](), token)

    def config(self, *, version: int = 2) -> Config:
        self.ctap = Ctap2(self.device)
        if not self.ctap.info.options.get("clientPin"):
            return Config(self.ctap)
        return Config(self.ctap, PROTOCOLS[version](), self.token(PERMISSION.AUTHENTICATOR_CFG, None, version=version))

    def keys(self) -> int:
        """Return how many keys of credentials are in the token."""
        return sum(info.key_id.startswith(b"ctap2:") for info in self.store.list())

    def answers(self, cmd: int, data: bytes) -> tuple[bytes, list[STATUS]]:
        """Call the device and return the answer and the keep-alives."""
        statuses: list[STATUS] = []
        return self.device.call(cmd, data, on_keepalive=statuses.append), statuses


LabMaker = Callable[..., Lab]
_numbers = itertools.count(100)


def descriptor(credential: AttestationResponse) -> dict[str, Any]:
    return {"type": "public-key", "id": credential_id(credential)}


def credential_id(credential: AttestationResponse) -> bytes:
    data = credential.auth_data.credential_data
    assert data is not None
    return data.credential_id


def public_key(credential: AttestationResponse) -> Any:  # noqa: ANN401  # python-fido2's COSE key
    data = credential.auth_data.credential_data
    assert data is not None
    return data.public_key


def unknown_id() -> bytes:
    return os.urandom(51)
