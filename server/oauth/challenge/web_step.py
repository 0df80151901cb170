"""What a device cannot do, a browser may: redirect_to_web (OAuth 2.0 for First-Party Applications 5.2.2)."""

from collections.abc import Mapping

from fidoloop.protocol.oauth.message_hash import MessageKind
from fidoloop.server.environment import Environment
from fidoloop.server.oauth.authorization.pushed import PushedRequest, push
from fidoloop.server.oauth.authorization.requests import WEB, metadata_of, read_wanted, redirect_uri_of
from fidoloop.server.oauth.challenge.sessions import ACRS
from fidoloop.server.oauth.client_authentication import AuthenticatedClient
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.oauth_rows import Client


def is_for_web(environment: Environment, parameters: Mapping[str, str], client: AuthenticatedClient) -> bool:
    """Tell whether a request names a browser, or nothing that an app can do while its client has a way to one.

    What the device policy denies is no reason: a browser's code is of this device, too.
    """
    named = parameters.get("acr_values", "").split()
    if not environment.config.web or not named:
        return False
    return WEB in named or (not set(named) & set(ACRS) and bool(metadata_of(client.client).redirect_uris))


async def push_for_web(
    environment: Environment,
    transaction: Transaction,
    parameters: Mapping[str, str],
    client: AuthenticatedClient,
    *,
    jkt: str,
    message: tuple[MessageKind, str],
) -> PushedRequest | None:
    """Return the same request, kept for a browser; None where it has no code_challenge or no way back.

    Raises:
        OAuthRefusal: it asks for what cannot be.
    """
    redirect_uri = _way_back(client.client, parameters)
    if redirect_uri is None or "code_challenge" not in parameters:
        return None
    asked = {"response_type": "code"} | dict(parameters)
    if WEB not in parameters["acr_values"].split():
        asked["acr_values"] = WEB
    wanted = read_wanted(client.client, asked, redirect_uri, jkt, grants=client.grants, now=environment.clock())
    return await push(environment, transaction, wanted, message)


def _way_back(client: Client, parameters: Mapping[str, str]) -> str | None:
    """Return the redirect_uri of the request, or the only one that the client has."""
    if "redirect_uri" in parameters:
        return redirect_uri_of(client, parameters)
    registered = metadata_of(client).redirect_uris or []
    return registered[0] if len(registered) == 1 else None
