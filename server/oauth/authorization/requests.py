"""What an authorization request asks for, checked in one way for pushed and plain ones (RFC 6749 4.1.1, RFC 9126)."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.oauth.client_metadata import ClientMetadata
from fidoloop.protocol.oauth.device_policy import Grants
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.pkce import check_challenge
from fidoloop.protocol.oauth.redirect_uris import is_registered
from fidoloop.server.environment import Environment
from fidoloop.server.oauth.parameters import INVALID, required
from fidoloop.server.store.oauth_rows import AuthorizationRequest, Client

WEB: Final = "web"
"""Among acr_values: whatever a browser can do. It stands in no token."""
LOG_INS: Final = ("uaf", "fido2")
ACRS: Final = (*LOG_INS, "uaf-hw", "fido2-hw")
MAX_TEXT: Final = 1024
_MAX_AGE = re.compile(r"[0-9]{1,9}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")


class Wanted(NamedTuple):
    """An authorization request that may be put before a person.

    `acr` names the acrs of which the log-in must be one, the best first; `logged_in_since` is in epoch milliseconds.
    """

    client_id: str
    redirect_uri: str
    scope: str
    acr: str
    logged_in_since: int
    jkt: str
    code_challenge: str
    state: str | None
    nonce: str | None


def wanted_of(row: AuthorizationRequest) -> Wanted:
    """Return what a request that is kept asks for."""
    return Wanted(*(getattr(row, name) for name in Wanted._fields))


def metadata_of(client: Client) -> ClientMetadata:
    """Return what a client said of itself."""
    return strictjson.decode(client.metadata, ClientMetadata)


def redirect_uri_of(client: Client, parameters: Mapping[str, str]) -> str:
    """Return the redirect_uri of a request, which is one that the client registered.

    Raises:
        OAuthRefusal: invalid_request.
    """
    uri = required(parameters, "redirect_uri")
    if not is_way_back(client, uri):
        raise OAuthRefusal(INVALID, "redirect_uri is not one that the client registered")
    return uri


def is_way_back(client: Client, uri: str) -> bool:
    """Tell whether the client registered a redirect_uri."""
    return is_registered(uri, metadata_of(client).redirect_uris or ())


def thumbprint_of(parameters: Mapping[str, str], proven: str | None = None) -> str:
    """Return the thumbprint of the key that the code will be bound to: the proof's, or dpop_jkt (RFC 9449 10.1).

    Raises:
        OAuthRefusal: invalid_dpop_proof where they differ; invalid_request where there is neither.
    """
    named = parameters.get("dpop_jkt", proven)
    if named is None:
        raise OAuthRefusal(INVALID, "dpop_jkt is missing: codes are bound to a key here")
    if proven is not None and named != proven:
        raise OAuthRefusal("invalid_dpop_proof", "dpop_jkt is not the thumbprint of the proof's key")
    if not _THUMBPRINT.fullmatch(named):
        raise OAuthRefusal(INVALID, "dpop_jkt is no SHA-256 thumbprint")
    return named


def read_wanted(
    client: Client, parameters: Mapping[str, str], redirect_uri: str, jkt: str, *, grants: Grants | None, now: int
) -> Wanted:
    """Return what is asked for.

    Args:
        client: who asks.
        parameters: of the request.
        redirect_uri: of the request, checked.
        jkt: of the key that the code will be bound to.
        grants: of the device policy where the client's device is known; the token endpoint holds them anyway.
        now: epoch milliseconds.

    Raises:
        OAuthRefusal: the error code for the client.
    """
    metadata = metadata_of(client)
    if metadata.grant_types is not UNSET and "authorization_code" not in metadata.grant_types:
        raise OAuthRefusal("unauthorized_client", "the client is not registered for authorization codes")
    if required(parameters, "response_type") != "code":
        raise OAuthRefusal("unsupported_response_type", "response_type is code")
    if parameters.get("response_mode", "query") != "query":
        raise OAuthRefusal(INVALID, "response_mode is query")
    if "request" in parameters:
        raise OAuthRefusal("request_not_supported", "request objects are not taken")
    for name in ("state", "nonce", "scope"):
        if len(parameters.get(name, "")) > MAX_TEXT:
            raise OAuthRefusal(INVALID, f"{name} has more than {MAX_TEXT} characters")
    challenge = required(parameters, "code_challenge")
    check_challenge(challenge, parameters.get("code_challenge_method"))
    return Wanted(
        client_id=client.id,
        redirect_uri=redirect_uri,
        scope=_scope(parameters, grants),
        acr=_acr(parameters, grants),
        logged_in_since=_since(parameters, now),
        jkt=jkt,
        code_challenge=challenge,
        state=parameters.get("state"),
        nonce=parameters.get("nonce"),
    )


def answer_uri(environment: Environment, redirect_uri: str, state: str | None, **members: str) -> str:
    """Return where the browser goes with an answer: the client's URI with `members`, state and iss (RFC 9207)."""
    told = {name: value for name, value in (("state", state),) if value is not None}
    answer = urlencode(members | told | {"iss": environment.authorization_server.issuer})
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{answer}"


def _scope(parameters: Mapping[str, str], grants: Grants | None) -> str:
    scope = parameters.get("scope", "").split()
    if grants is not None and not set(scope) <= set(grants.scopes):
        raise OAuthRefusal("invalid_scope", "the device policy does not allow this scope")
    return " ".join(dict.fromkeys(scope))


def _acr(parameters: Mapping[str, str], grants: Grants | None) -> str:
    """Return which acrs do, in the order that the client named them (RFC 9470 section 4)."""
    named = parameters.get("acr_values", "").split() or [WEB]
    meant = (acr for name in named for acr in (LOG_INS if name == WEB else (name,)))
    found = [acr for acr in meant if acr in ACRS and (grants is None or acr in grants.acr)]
    if not found:
        raise OAuthRefusal("unmet_authentication_requirements", "no acr of acr_values is there for this device")
    return " ".join(dict.fromkeys(found))


def _since(parameters: Mapping[str, str], now: int) -> int:
    prompt = parameters.get("prompt", "").split()
    if "none" in prompt:
        raise OAuthRefusal("interaction_required", "a person is always asked here")
    age = parameters.get("max_age")
    if age is not None and not _MAX_AGE.fullmatch(age):
        raise OAuthRefusal(INVALID, "max_age is no number of seconds")
    if "login" in prompt:
        return now
    return 0 if age is None else max(0, now - 1000 * int(age))
