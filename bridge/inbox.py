"""From what was scanned to a token ready to redeem: decode, decrypt with the hardware key, check the host.

HTTP contract 9.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from fidoloop.bridge.errors import CannotDecryptError, MalformedPayloadError, UnknownHostError
from fidoloop.bridge.http import CONTEXT_PATH
from fidoloop.bridge.profile import Account, Profile
from fidoloop.hsm.errors import KeyGone
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import jose, outofband, strictjson
from fidoloop.protocol.channel_linking import ChannelLinkingDemand
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.facets import origin

REDEEM_PATH = "/token/redeem/"
OPERATIONS = {"registration": "Reg", "authentication": "Auth", "deregistration": "Dereg"}


class DispatchedToken(msgspec.Struct, frozen=True):
    """A dispatched token, opened. `account` is known where the payload was encrypted to one.

    `linking` is what the phone must answer beside its response, if anything.
    """

    token: str
    base_url: str
    operation: str
    account: Account | None
    encrypted: bool
    members: tuple[str, ...]
    requested_by: str | None
    linking: ChannelLinkingDemand | None = None

    @property
    def host(self) -> str:
        """Host and port it is redeemed at."""
        return urlsplit(self.base_url).netloc


def decode(text: str) -> outofband.Payload:
    """Return the payload in what was scanned or pasted. Raises MalformedPayloadError."""
    try:
        return outofband.decode_scanned(text)
    except MalformedError as error:
        raise MalformedPayloadError(f"not a dispatched token: {error}") from None


def open_token(payload: outofband.Payload, profile: Profile, store: KeyStore) -> DispatchedToken:
    """Return the token in `payload`, decrypted where need be by the key it was encrypted to.

    Raises:
        MalformedPayloadError: no token inside, or redeem_url is not of a redeem service;
        CannotDecryptError: for another device, or the key is gone; KeyStoreError: the token device.
    """
    try:
        data, account = _open(payload, profile, store)
        linking = _linking(data.members)
    except MalformedError as error:
        raise MalformedPayloadError(f"not a dispatched token: {error}") from None
    except jose.JoseRefusal as error:
        raise CannotDecryptError(str(error)) from None
    except KeyGone:
        raise CannotDecryptError("this phone's decryption key is gone from the token") from None
    base_url, operation = _redeem_target(data.redeem_url)
    return DispatchedToken(
        token=data.token,
        base_url=base_url,
        operation=operation,
        account=account,
        encrypted=isinstance(payload.nma_data, str),
        members=tuple(sorted(data.members)),
        requested_by=_requested_by(data.members.get("requestContext")),
        linking=linking,
    )


def check_host(token: DispatchedToken, profile: Profile, *, expected: str | None) -> None:
    """Let a token be redeemed only where this phone is registered; a registration only where the user expects it.

    Raises:
        UnknownHostError: any other host: a payload is unauthenticated input.
    """
    if token.operation == "registration":
        if expected is not None and expected.rstrip("/") != token.base_url:
            raise UnknownHostError(f"the token is for {token.base_url}, not for {expected}")
        return
    known = {token.account.base_url} if token.account else {entry.base_url for entry in profile.accounts()}
    if token.base_url not in known:
        raise UnknownHostError(f"the token would be redeemed at {token.base_url}, where this phone is not registered")


def _open(payload: outofband.Payload, profile: Profile, store: KeyStore) -> tuple[outofband.NmaData, Account | None]:
    if not isinstance(payload.nma_data, str):
        return outofband.open_payload(payload, None), None
    kid = jose.key_id(payload.nma_data, "$.nma_data")
    for account in profile.accounts():
        # A payload without kid can only be tried where there is one account to try it for.
        if account.encryption_key_id and kid in (None, account.encryption_thumbprint):
            return outofband.open_payload(payload, store.key(account.encryption_key_id)), account
    raise CannotDecryptError("the token is encrypted to another device, or to keys this phone no longer has")


def _linking(members: dict[str, Any]) -> ChannelLinkingDemand | None:
    if "channelLinking" not in members:
        return None
    return strictjson.convert(members["channelLinking"], ChannelLinkingDemand, "$.nma_data.channelLinking")


def _redeem_target(redeem_url: str) -> tuple[str, str]:
    """Return the server's base URL and the operation that a redeem URL names."""
    base_url, found, operation = redeem_url.rstrip("/").partition(f"{CONTEXT_PATH}{REDEEM_PATH}")
    # A query, a fragment or credentials before the context path would make it another URL than it looks.
    if not found or operation not in OPERATIONS or origin(base_url) is None or set(base_url) & set("?#@"):
        raise MalformedPayloadError(f"redeem_url does not end with {CONTEXT_PATH}{REDEEM_PATH} and an operation")
    return base_url, operation


def _requested_by(context: object) -> str | None:
    """Return who asked, as the server saw them, with nothing in it that a terminal would obey."""
    if not isinstance(context, dict):
        return None
    parts = [str(context[name])[:128] for name in ("address", "userAgent") if name in context]
    return "".join(c if c.isprintable() else "?" for c in ", ".join(parts)) or None
