"""What a client says of itself when it registers (RFC 7591 section 2; attested DCR draft; OAuth contract 3)."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.redirect_uris import may_be_registered

Text = Annotated[str, Meta(max_length=512)]
Texts = Annotated[list[Text], Meta(max_length=16)]
AuthMethod = Literal["attest_jwt_client_auth", "attest_jwt_client_auth_dpop", "private_key_jwt"]
Dialect = Literal["ietf-03", "native-apps-00"]
GRANT_TYPES: Final = ("authorization_code", "refresh_token")
INVALID: Final = "invalid_client_metadata"


class JwkSet(msgspec.Struct, frozen=True):
    """The client's keys: exactly one here, the instance's."""

    keys: Annotated[list[dict[str, Any]], Meta(max_length=4)]


class ClientMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """Client metadata; members that are not here are ignored and not kept."""

    client_name: Text | UnsetType = UNSET
    client_uri: Text | UnsetType = UNSET
    redirect_uris: Texts | UnsetType = UNSET
    token_endpoint_auth_method: AuthMethod | UnsetType = UNSET
    grant_types: Texts | UnsetType = UNSET
    response_types: Texts | UnsetType = UNSET
    application_type: Text | UnsetType = UNSET
    scope: Text | UnsetType = UNSET
    contacts: Texts | UnsetType = UNSET
    software_id: Text | UnsetType = UNSET
    software_version: Text | UnsetType = UNSET
    dpop_bound_access_tokens: bool | UnsetType = UNSET
    require_pushed_authorization_requests: bool | UnsetType = UNSET
    fipa_dialect: Dialect | UnsetType = UNSET
    jwks: JwkSet | UnsetType = UNSET


class ClientRegistration(ClientMetadata, frozen=True, omit_defaults=True):
    """A registration: metadata, evidence about the key, perhaps what a publisher says of the software."""

    evidence: Annotated[str, Meta(max_length=49152)] | UnsetType = UNSET
    software_statement: Annotated[str, Meta(max_length=8192)] | UnsetType = UNSET


def check_metadata(metadata: ClientMetadata) -> None:
    """Refuse what this server does not do (RFC 7591 section 3.2.2).

    Raises:
        OAuthRefusal: invalid_redirect_uri, invalid_client_metadata.
    """
    for uri in metadata.redirect_uris or ():
        if not may_be_registered(uri):
            raise OAuthRefusal("invalid_redirect_uri", "not https, http on loopback or of an app's scheme")
    if not set(metadata.grant_types or ()) <= set(GRANT_TYPES):
        raise OAuthRefusal(INVALID, f"grant_types are of {' '.join(GRANT_TYPES)}")
    if not set(metadata.response_types or ()) <= {"code"}:
        raise OAuthRefusal(INVALID, "response_types is code")
    if metadata.dpop_bound_access_tokens is False:
        raise OAuthRefusal(INVALID, "access tokens are bound to a key here, always")
