"""What of a message may be kept: members known to hold no secret. All else is hidden, before anything is kept.

Deny by default: a member that is not named here is kept neither by its value nor by its name.
"""

from typing import Any, Final
from urllib.parse import parse_qsl

from fidoloop.protocol import base64url, outofband, strictjson
from fidoloop.protocol.errors import MalformedError

HIDDEN: Final = "[hidden]"
UNKNOWN: Final = "[other members]"
MAX_TEXT: Final = 8192
MAX_ENTRIES: Final = 64
MAX_NUMBER: Final = (1 << 53) - 1
"""What any reader of JSON takes for the same number (RFC 8259 section 6)."""
MAX_LEVEL: Final = 2
"""So deep are JSON texts in JSON texts: fcParams in a uafResponse in a SendUAFResponse."""
Json = Any


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Scalars under these names are kept: of UAF messages, HTTP contract 2 to 12, RFC 9457, WebAuthn, OAuth.
_SHOWN = _names("""
    statusCode op lifetimeMillis major minor appID serverData id fail_if_unknown data challenge username policy
    aaid vendorID keyIDs keyID keyId userVerification keyProtection matcherProtection attachmentHint tcDisplay
    authenticationAlgorithms assertionSchemes attestationTypes authenticatorVersion contentType content width
    height bitDepth colorType compression filter interlace r g b assertionScheme assertion facetID
    serverEndPoint tlsServerCertificate cid_pubkey mode aaids wildcards asmStatusCode clientErrorCode triesLeft
    message dispatchResult sessionId dispatcher dispatchTargetId dispatchTargetID name deviceId kty crv alg enc
    kid use typ cty status timestamp userId uafStatusCode tokenResult type title detail errorMessage
    fido2SessionId displayName rpId timeout transports residentKey requireResidentKey authenticatorAttachment
    attestation rawId credentialId userHandle userVerified format signature authenticatorData attestationObject
    origin crossOrigin documentDomain by state reason deadline pushed remember now grant_type response_type
    client_id client_name scope code_challenge_method token_type expires_in error error_description
    token_type_hint active acr
""")
# Members that are objects or lists: what is in them is looked at member by member.
_INSIDE = _names("""
    header upv exts accepted disallowed transaction tcDisplayPNGCharacteristics plte assertions channelBinding
    authenticators getUafRequest dispatcherInformation dispatchTarget dispatchTargets signatureKey encryptionKey
    tokenInformation rp user pubKeyCredParams excludeCredentials authenticatorSelection allowCredentials
    createdCredentials authenticatedCredentials epk keys options response credential
    """)
_FORM = _names("grant_type response_type client_id scope code_challenge_method token_type_hint")
"""Parameters of forms that are kept; `state` is the client's secret there."""
_TEXTS = frozenset({"uafRequest", "uafResponse", "context", "description"})
"""Members that are JSON texts."""
_BESIDE: Final = {"data": "fail_if_unknown", "content": "contentType", "assertion": "assertionScheme"}
"""Members that are kept beside the other only: elsewhere the name may stand for anything."""
_ENCODED = frozenset({"fcParams", "clientDataJSON"})
"""Members that are base64url of a JSON text."""
# Known, and never shown: the page may say that they are there.
_SECRET = _names("""
    token target dispatchInformation channelLinking channelLinkingResponse link qr number code code_verifier
    code_challenge client_secret client_assertion password access_token refresh_token id_token auth_session
    registration_access_token request request_uri nonce subject_token extensions tlsUnique x y n e
    """)


def redact(text: bytes, *, media: str) -> Json:
    """Return what may be kept of a body: JSON, a form, a compact JWE or JWS, or how long it is."""
    if not text:
        return None
    if media.endswith(("json", "+uaf")):
        return _parsed(text)
    if media.endswith("x-www-form-urlencoded"):
        return _form(text)
    if media.endswith("jose"):
        return jose_outline(text.decode("latin-1"))
    return _size(text)


def jose_outline(token: str) -> Json:
    """Return the header of a compact JWE or JWS, the rest hidden."""
    parts = token.split(".")
    if len(parts) not in (3, 5):
        return HIDDEN
    try:
        header = strictjson.loads(base64url.decode(parts[0]))
    except MalformedError:
        return HIDDEN
    return {"JWE header" if len(parts) == 5 else "JWS header": _walk("header", header, MAX_LEVEL), "content": HIDDEN}


def payload_outline(text: str) -> Json:
    """Return what a dispatched payload may show, in any of its forms: the header where it is encrypted."""
    try:
        payload = outofband.decode_scanned(text)
    except MalformedError:
        return HIDDEN
    data = payload.nma_data
    return jose_outline(data) if isinstance(data, str) else {"not encrypted": HIDDEN}


def _parsed(text: bytes | str, level: int = 0) -> Json:
    try:
        value = strictjson.loads(text)
    except MalformedError:
        return _size(text)
    return _walk("", value, level) if level <= MAX_LEVEL else HIDDEN


def _form(text: bytes) -> Json:
    try:
        pairs = dict(parse_qsl(text.decode("ascii"), max_num_fields=MAX_ENTRIES))
    except ValueError:
        return _size(text)
    return {
        name if name in _FORM | _SECRET else UNKNOWN: value if name in _FORM else HIDDEN
        for name, value in pairs.items()
    }


def _size(text: bytes | str) -> str:
    return f"[{len(text)} bytes that are no such message]"


def _walk(name: str, value: Json, level: int) -> Json:
    if isinstance(value, dict):
        return dict(_member(name, member, level, value) for name, member in value.items())
    if isinstance(value, list):
        return [_walk(name, entry, level) for entry in value[:MAX_ENTRIES]]
    if value is None or isinstance(value, bool):
        return value
    if name not in _SHOWN or (isinstance(value, int) and abs(value) > MAX_NUMBER):
        return HIDDEN
    return value[:MAX_TEXT] if isinstance(value, str) else value


def _member(name: str, value: Json, level: int, around: dict[str, Json]) -> tuple[str, Json]:
    if name in _SECRET or _BESIDE.get(name, name) not in around:
        return name, HIDDEN
    if name in _TEXTS and isinstance(value, str):
        return name, _parsed(value, level + 1)
    if name in _ENCODED and isinstance(value, str):
        return name, _decoded(value, level + 1)
    if name == "response" and isinstance(value, str):
        return name, payload_outline(value)
    is_known = name in _SHOWN or (name in _INSIDE and isinstance(value, (dict, list)))
    return (name, _walk(name, value, level)) if is_known else (UNKNOWN, HIDDEN)


def _decoded(text: str, level: int) -> Json:
    try:
        return _parsed(base64url.decode(text, padding_allowed=True), level)
    except MalformedError:
        return HIDDEN
