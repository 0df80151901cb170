"""WebAuthn: client data, authenticator data, attestation objects, credentials in JSON (WebAuthn 5.8.1, 6.1, 6.5)."""

import hashlib
from typing import Final

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.cbor import Field, Fields, canonical_problem, cbor_tree, first_item
from fidoloop.protocol.inspect.certificate import read_certificate
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.cose import cose_key, tell_cose_algorithm
from fidoloop.protocol.inspect.embedded import in_base64url
from fidoloop.protocol.inspect.json_tree import Member, Members, json_tree
from fidoloop.protocol.inspect.node import Node, bits, held_against_key, number, octets
from fidoloop.protocol.inspect.signature import verify_der
from fidoloop.protocol.inspect.tpm import read_certify_info, read_public
from fidoloop.protocol.webauthn.attestation_object import parse_attestation_object
from fidoloop.protocol.webauthn.authenticator_data import AT, BE, BS, ED, Flags, parse_authenticator_data
from fidoloop.protocol.webauthn.client_data import CREATE, GET, ClientData

_HEADER: Final = 37
_RESERVED: Final = 0x22
_CLIENT_DATA: Members = {
    "type": Member("webauthn.create: registration, webauthn.get: authentication"),
    "challenge": Member("the server's, base64url"),
    "origin": Member("the page or app that asked"),
    "crossOrigin": Member("whether another site embeds the page"),
    "topOrigin": Member("the site that embeds it"),
}
EXTENSIONS: Final[Fields] = {
    "credProtect": Field("", "when the credential may be used: 1 always, 2 by id or verified, 3 verified"),
    "hmac-secret": Field("", "makes secrets from salts"),
    "minPinLength": Field("", "the shortest PIN"),
    "credBlob": Field("", "some bytes kept beside the credential"),
    "largeBlobKey": Field("", "the key of the credential's large blob"),
    "thirdPartyPayment": Field("", "may be used in payments by others"),
}


def read_client_data(content: Content, context: Context) -> Node:
    """Return client data. Raises MalformedError."""
    return json_tree(content, context, "clientDataJSON", _CLIENT_DATA, _check_client_data)


def _check_client_data(text: str) -> None:
    if strictjson.decode(text, ClientData).type not in (CREATE, GET):
        raise MalformedError("$.type", f"neither {CREATE} nor {GET}")


def authenticator_data(data: bytes, context: Context) -> Node:
    """Return authenticator data. Raises MalformedError where its fixed part is cut short or CBOR in it is broken."""
    if len(data) < _HEADER:
        raise MalformedError("$", f"{len(data)} bytes, authenticator data has at least {_HEADER}")
    flags, at = data[32], _HEADER
    parts = [
        octets(0, data[:32], "rpIdHash", "SHA-256 of the relying party's id"),
        number(32, data[32:33], "flags", bits(Flags, flags) or "none", _flags_problem(flags)),
        number(33, data[33:37], "signCount", "signatures so far, 0 where no count is kept"),
    ]
    if flags & AT:
        credential = _attested(data, at, context)
        parts.append(credential)
        at += credential.length
    if flags & ED and at < len(data):
        extensions = cbor_tree(data, at, context, "extensions", EXTENSIONS)
        parts.append(extensions.wrong("" if isinstance(first_item(data, at), dict) else "not a map in canonical CBOR"))
        at += extensions.length
    if at < len(data):
        parts.append(octets(at, data[at:], "rest", problem="more bytes than the flags say"))
    return Node(0, len(data), "authenticatorData", children=tuple(parts))


def _flags_problem(flags: int) -> str:
    if flags & _RESERVED:
        return "a reserved bit is set"
    return "backed up (BS), though not eligible for it (BE)" if flags & BS and not flags & BE else ""


def _attested(data: bytes, at: int, context: Context) -> Node:
    if len(data) < at + 18:
        return octets(at, data[at:], "attestedCredentialData", problem="is cut short")
    size = int.from_bytes(data[at + 16 : at + 18])
    key_at = at + 18 + size
    if key_at >= len(data):
        return octets(at, data[at:], "attestedCredentialData", problem="is cut short")
    key = cose_key(data, key_at, context, "credentialPublicKey").but(meaning="COSE key: verifies this credential")
    children = (
        octets(at, data[at : at + 16], "aaguid", "the authenticator's model, zeros where it does not say"),
        number(at + 16, data[at + 16 : at + 18], "credentialIdLength"),
        octets(at + 18, data[at + 18 : key_at], "credentialId", problem="" if size <= 1023 else "more than 1023 bytes"),
        key,
    )
    return Node(at, 18 + size + key.length, "attestedCredentialData", None, "the new credential", children=children)


def read_authenticator_data(content: Content, context: Context) -> Node:
    """Return authenticator data that is all there is. Raises MalformedError."""
    return authenticator_data(content.data, context)


def _certificate(data: bytes, context: Context) -> Node:
    return read_certificate(Content(data), context)


STATEMENT: Final[Fields] = {
    "alg": Field("", "signature algorithm", tell=tell_cose_algorithm),
    "sig": Field("", "over authData and the hash of the client data"),
    "x5c": Field("", "certificates, that of the attestation key first", read=_certificate),
    "ver": Field("", "TPM version"),
    "certInfo": Field("", "TPMS_ATTEST: what the TPM signed", read=lambda data, _: read_certify_info(Content(data), _)),
    "pubArea": Field("", "TPMT_PUBLIC: the key", read=lambda data, _: read_public(Content(data), _)),
}
ATTESTATION: Final[Fields] = {
    "fmt": Field("", "format of the attestation statement"),
    "attStmt": Field("", "who vouches for the credential", STATEMENT),
    "authData": Field("", "authenticator data", read=authenticator_data),
}


def read_attestation_object(content: Content, context: Context) -> Node:
    """Return an attestation object. Raises MalformedError where its CBOR cannot be read."""
    node = cbor_tree(content.data, 0, context, "attestationObject", ATTESTATION)
    problem = canonical_problem(content.data)
    if not problem:
        try:
            parse_attestation_object(content.data)
        except MalformedError as error:
            problem = str(error)
    return node.wrong(problem)


def _is_authenticator_data(content: Content) -> bool:
    if content.text is not None and content.text.isprintable():
        return False
    try:
        found = parse_authenticator_data(content.data)
    except MalformedError:
        return False
    return not found.flags & _RESERVED


_READERS: Final = {
    "clientDataJSON": read_client_data,
    "attestationObject": read_attestation_object,
    "authenticatorData": read_authenticator_data,
}
_CREDENTIAL: Members = {
    "id": Member("id of the credential, base64url"),
    "rawId": Member("the same"),
    "response": Member(
        "what the authenticator answered",
        {
            **{name: Member(read=in_base64url(read)) for name, read in _READERS.items()},
            "signature": Member("over authenticatorData and the hash of clientDataJSON"),
            "userHandle": Member("the server's name of the user"),
            "transports": Member("how the authenticator can be reached"),
        },
    ),
    "clientExtensionResults": Member("what the client says of extensions"),
}


def read_credential(content: Content, context: Context) -> Node:
    """Return a PublicKeyCredential in JSON. Raises MalformedError."""
    node = json_tree(content, context, "PublicKeyCredential", _CREDENTIAL)
    response = content.member("response")
    if not isinstance(response, dict) or "signature" not in response:
        return node

    def verify() -> None:
        data, client, signature = (
            base64url.decode(str(response.get(name, "")), f"$.response.{name}", padding_allowed=True)
            for name in ("authenticatorData", "clientDataJSON", "signature")
        )
        verify_der(context.key, signature, data + hashlib.sha256(client).digest())

    def change(one: Node) -> Node:
        return one if one.name != "signature" else held_against_key(one, verify if context.key else None)

    return node.map(change)


def _tell_algorithm(value: object, _: Context) -> tuple[str, str]:
    return tell_cose_algorithm(value), ""


_DESCRIPTOR: Members = {"id": Member("of a credential, base64url"), "transports": Member("how to reach it")}
_OPTIONS: Members = {
    "challenge": Member("the server's, base64url"),
    "rp": Member("the relying party", {"id": Member("its domain"), "name": Member("its name, shown")}),
    "rpId": Member("the relying party's domain"),
    "user": Member("the account", {"id": Member("the server's name of the user, base64url")}),
    "pubKeyCredParams": Member("algorithms, the preferred first", {"alg": Member(tell=_tell_algorithm)}),
    "timeout": Member("milliseconds"),
    "excludeCredentials": Member("those that must not be there yet", _DESCRIPTOR),
    "allowCredentials": Member("those that may sign; none: any that is discoverable", _DESCRIPTOR),
    "authenticatorSelection": Member("what the authenticator has to be"),
    "userVerification": Member("whether the user has to be verified"),
    "attestation": Member("how much the authenticator should say of itself"),
    "extensions": Member("what else is asked for"),
}


def read_options(content: Content, context: Context) -> Node:
    """Return the options of a ceremony, bare or under publicKey. Raises MalformedError."""
    return json_tree(content, context, "options", {**_OPTIONS, "publicKey": Member("the options", _OPTIONS)})


def _is_options(content: Content) -> bool:
    inner = content.member("publicKey")
    names = set(inner if isinstance(inner, dict) else content.json if isinstance(content.json, dict) else ())
    return "challenge" in names and bool(names & {"rp", "rpId", "allowCredentials"})


KINDS = (
    Kind("client-data", "client data", lambda c: str(c.member("type")).startswith("webauthn."), read_client_data),
    Kind(
        "credential",
        "a WebAuthn credential",
        lambda content: content.has("rawId", "response") or content.has("id", "type", "response"),
        read_credential,
        signed=True,
    ),
    Kind("webauthn-options", "options of a WebAuthn ceremony", _is_options, read_options),
    Kind(
        "attestation-object",
        "an attestation object",
        lambda content: content.data[:1] == b"\xa3" and b"authData" in content.data,
        read_attestation_object,
    ),
    Kind("authenticator-data", "authenticator data", _is_authenticator_data, read_authenticator_data),
)
