"""A phone whose keys stay in a token: it enrols, logs in and confirms as a person's would."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fidoloop.authenticator.models import Form, token_statements
from fidoloop.authenticator.user_verification import (
    AutoApprove,
    Prompt,
    TokenPin,
    UserVerifier,
    VerificationRequest,
)
from fidoloop.bridge import phone as bridge
from fidoloop.bridge.errors import (
    BridgeError,
    ClientFailureError,
    NetworkError,
    ServerRefusedError,
    UserDeclinedError,
)
from fidoloop.bridge.http import Exchange, Recorder, Server
from fidoloop.bridge.inbox import DispatchedToken
from fidoloop.bridge.passkeys import LoggedIn, Passkey, Passkeys
from fidoloop.bridge.phone import CarriedOut, Result
from fidoloop.bridge.profile import Account, Profile, ProfileMissingError
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store, parse_key_store_uri, uri_of
from fidoloop.protocol.channel_linking import ChannelLinkingDemand
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf.metadata import MetadataStatement
from fidoloop.protocol.uaf.registry import Algorithm, UserVerification

__all__ = [
    "Account",
    "Algorithm",
    "BridgeError",
    "CarriedOut",
    "ClientFailureError",
    "DispatchedToken",
    "Exchange",
    "Form",
    "LoggedIn",
    "MetadataStatement",
    "NetworkError",
    "Passkey",
    "Phone",
    "ProfileMissingError",
    "Result",
    "ServerRefusedError",
    "User",
    "UserDeclinedError",
    "Verification",
    "VerificationRequest",
    "metadata_statements",
]

Verification = Literal["pin", "prompt", "auto"]
"""How a phone verifies its user: the token's PIN, a question, not at all. Its models claim it."""
_METHODS: dict[str, UserVerification] = {
    "pin": UserVerification.PASSCODE,
    "prompt": UserVerification.PRESENCE,
    "auto": UserVerification.NONE,
}


@dataclass(frozen=True)
class User:
    """Who holds the phone: functions that answer in a person's place. This one says yes to everything.

    `pin` is typed where the token's is asked for; `approve` is shown each operation and transaction, `follow` each
    dispatched token before it is redeemed; `number` tells what the laptop shows, None: nobody saw it.
    """

    pin: str | None = None
    approve: Callable[[VerificationRequest], bool] = lambda request: True
    follow: Callable[[DispatchedToken], bool] = lambda token: True
    number: Callable[[], str | None] = lambda: None


def metadata_statements(
    store: KeyStore, *, verification: Verification = "pin", form: Form = Form.FIRST_FACTOR
) -> list[MetadataStatement]:
    """Return the metadata statements of the models that a phone on this token is: what its server has to know.

    Those with full attestation are there after `fidoloop.api.keys.attest_init`. Raises KeyStoreError.
    """
    return token_statements(store, _METHODS[verification], form)


class Phone:
    """One phone; a context manager. `create` or `open` it. Not safe between threads.

    Errors are BridgeError; KeyStoreError from the token.
    """

    def __init__(
        self, profile: Profile, store: KeyStore, user: User, recorder: Recorder | None, opened: contextlib.ExitStack
    ) -> None:
        """Not public: see `create` and `open`."""
        self._profile = profile
        self._settings = profile.settings()
        self._store = store
        self._recorder = recorder
        self._verifier = _verifier(self._settings.verification, store, user)
        # Plain http is refused by the phone for all but this machine itself.
        self._insecure = self._settings.ca is None
        self._phone = bridge.Phone(
            profile,
            store,
            self._verifier,
            confirm=user.follow,
            link=lambda demand, tries_left: user.number() if tries_left is None else None,
            recorder=recorder,
            insecure=self._insecure,
        )
        opened.callback(self._phone.close)
        self._opened = opened.pop_all()

    @classmethod
    def create(
        cls,
        path: Path,
        keys: str | KeyStore,
        *,
        user: User = User(),
        verification: Verification = "pin",
        ca: Path | None = None,
        form: Form = Form.FIRST_FACTOR,
        facet_id: str = LAB_FACET_ID,
        recorder: Recorder | None = None,
    ) -> Self:
        """Make a new phone that keeps its state in the file `path`.

        Args:
            path: of a file that is not there yet; its directory is made.
            keys: the key store, open, or its URI (RFC 7512 `pkcs11:…`, `piv:…`); a URI's store is the phone's to close.
            user: who answers.
            verification: how the user is verified, which the phone's models claim.
            ca: PEM file of the CA to trust in the place of the system's; without it, plain http to this machine is
                allowed too.
            form: what the phone's authenticators are.
            facet_id: of the phone's app.
            recorder: told of every exchange with a server, as on the wire.

        Raises:
            FileExistsError: there is something at `path`; KeyStoreError.
        """
        if path.exists():
            raise FileExistsError(f"there is a phone in {path}: Phone.open opens it")
        uri = parse_key_store_uri(keys).without_pin() if isinstance(keys, str) else uri_of(keys)
        with contextlib.ExitStack() as opened:
            store = keys if isinstance(keys, KeyStore) else opened.enter_context(open_key_store(keys, pin=user.pin))
            profile = Profile(path)
            # Where the phone does not come to be, nothing of it stays.
            opened.push(lambda kind, _error, _trace: profile.close() if kind is None else profile.discard())
            profile.create(
                keys_uri=uri,
                verification=verification,
                ca=str(ca.resolve()) if ca else None,
                facet_id=facet_id,
                form=form,
            )
            return cls(profile, store, user, recorder, opened)

    @classmethod
    def open(
        cls,
        path: Path,
        keys: str | KeyStore | None = None,
        *,
        user: User = User(),
        recorder: Recorder | None = None,
    ) -> Self:
        """Open the phone that `create` made; without `keys` by the URI it was made with, and the user's PIN.

        Raises:
            ProfileMissingError: there is none; KeyStoreError.
        """
        if not path.exists():
            raise ProfileMissingError(f"there is no phone in {path}: Phone.create makes one")
        with contextlib.ExitStack() as opened:
            profile = Profile(path)
            opened.callback(profile.close)
            settings = profile.settings()
            if isinstance(keys, KeyStore):
                store = keys
            else:
                store = opened.enter_context(open_key_store(keys or settings.keys_uri, pin=user.pin))
            return cls(profile, store, user, recorder, opened)

    @property
    def store(self) -> KeyStore:
        """The open key store."""
        return self._store

    def accounts(self) -> list[Account]:
        """Return the accounts that this phone has."""
        return self._phone.accounts()

    def register(
        self,
        token: str,
        *,
        server: str | None = None,
        target_name: str = "phone",
        algorithm: Algorithm | None = None,
    ) -> Result:
        """Enrol by a registration token (the text of its QR code), and become a dispatch target of that name.

        Args:
            token: what was scanned.
            server: the only base URL to enrol at; None: the token's.
            target_name: what the server calls this phone.
            algorithm: of the new key, as far as the policy accepts it; None: the policy chooses.
        """
        return self._phone.register(token, server=server, target_name=target_name, algorithm=algorithm)

    def redeem(self, token: str) -> Result:
        """Carry out the log-in, confirmation or deregistration that a dispatched token asks for."""
        return self._phone.scan(token)

    def redeem_nearby(self, *, station: str | None = None, radio: str | None = None) -> Result:
        """As `redeem`, for the token that a laptop in range serves by Bluetooth; needs the extra `ble`.

        Args:
            station: the short id that the laptop shows; None: the only one in range.
            radio: an HCI transport, as `usb:0`; None: the system's Bluetooth.

        Raises:
            StationError, DeviceMissingError: BridgeErrors of Bluetooth; ImportError: the extra is not installed.
        """
        from fidoloop.bridge.ble.blocking import read_token

        received = read_token(transport=radio, short_id=station)

        def link(demand: ChannelLinkingDemand, tries_left: int | None) -> str | None:
            return received.nonce if demand.mode == "ble" and tries_left is None else None

        return self._phone.scan(received.payload, link=link)

    def confirm(self, token: str) -> Result:
        """As `redeem`, for a token that must hold a transaction to confirm."""
        return self._phone.confirm(token)

    def authenticate(self, server: str | None = None) -> Result:
        """Log in without a dispatched token and without a user name; `server` where there are several."""
        return self._phone.login(server)

    def deregister(self, token: str) -> Result:
        """Carry out the deregistration that a dispatched token asks for."""
        return self._phone.deregister(token)

    def remove(self, account: Account) -> tuple[tuple[str, str], ...]:
        """Delete the keys of an account, and its dispatch target at the server; return the keys' AAID and KeyID."""
        return self._phone.remove(account)

    @contextlib.contextmanager
    def answering(self, server: str, uaf_request: str) -> Iterator[CarriedOut]:
        """Be the UAF client alone: carry out `uaf_request`, a JSON array of requests from anywhere.

        Yields what holds the `response` to bring back to `server`, the base URL that its keys belong to. A new key is
        destroyed again unless `keep()` is called before the end.
        """
        with self._phone.carrying_out(server, uaf_request) as done:
            yield done

    def register_passkey(self, server: str, username: str, *, api_key: str | None = None) -> Passkey:
        """Make a passkey for a user at the server's FIDO2 services, which need its API credential."""
        with self._passkeys() as passkeys, self._server(server, api_key) as connection:
            return passkeys.register(connection, username)

    def passkey_login(self, server: str, username: str | None = None) -> LoggedIn:
        """Log in by a passkey, as a user or as whoever it is of."""
        with self._passkeys() as passkeys, self._server(server, None) as connection:
            return passkeys.login(connection, username)

    def close(self) -> None:
        """Close the phone's state, and the key store where it was opened by its URI."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _passkeys(self) -> Passkeys:
        return Passkeys(self._profile.path, self._store, self._verifier)

    def _server(self, url: str, api_key: str | None) -> Server:
        ca = Path(self._settings.ca) if self._settings.ca else None
        return Server(url, ca=ca, insecure=self._insecure, api_key=api_key, recorder=self._recorder)


def _verifier(verification: str, store: KeyStore, user: User) -> UserVerifier:
    if verification not in _METHODS:
        raise ValueError(f"user verification {verification!r} is none of {', '.join(_METHODS)}")
    if verification == "pin":
        return TokenPin(store, lambda request, _tries: user.pin if user.approve(request) else None)
    return Prompt(user.approve) if verification == "prompt" else AutoApprove()
