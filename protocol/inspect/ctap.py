"""CTAP2 commands and answers: one byte, then CBOR whose members are numbers (CTAP 2.1, section 6 and 8)."""

from typing import Final

from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.cbor import Field, Fields, canonical_problem, cbor_tree
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.node import Node, named, number
from fidoloop.protocol.inspect.webauthn import STATEMENT, authenticator_data

_PROTOCOL: Final = Field("pinUvAuthProtocol")
_AUTH: Final = Field("pinUvAuthParam", "MAC by the PIN/UV token: the user is verified")
_OPTIONS: Final = Field("options", "rk: keep the credential; up, uv: presence, verification")
_USER: Final = Field("user", "the account")
_CREDENTIAL: Final = Field("credential", "id and type of the credential")

COMMANDS: Final[dict[int, Fields]] = {
    Ctap2.CMD.MAKE_CREDENTIAL: {
        1: Field("clientDataHash", "SHA-256 of clientDataJSON"),
        2: Field("rp", "the relying party"),
        3: _USER,
        4: Field("pubKeyCredParams", "algorithms, the preferred first"),
        5: Field("excludeList", "credentials that must not be there yet"),
        6: Field("extensions"),
        7: _OPTIONS,
        8: _AUTH,
        9: _PROTOCOL,
        10: Field("enterpriseAttestation"),
    },
    Ctap2.CMD.GET_ASSERTION: {
        1: Field("rpId", "the relying party"),
        2: Field("clientDataHash", "SHA-256 of clientDataJSON"),
        3: Field("allowList", "credentials that may sign"),
        4: Field("extensions"),
        5: _OPTIONS,
        6: _AUTH,
        7: _PROTOCOL,
    },
    Ctap2.CMD.CLIENT_PIN: {
        1: _PROTOCOL,
        2: Field(
            "subCommand", "1 retries, 2 key agreement, 3 set, 4 change, 5 token, 6 token by UV, 9 token with rights"
        ),
        3: Field("keyAgreement", "the platform's ephemeral COSE key"),
        4: Field("pinUvAuthParam"),
        5: Field("newPinEnc", "encrypted"),
        6: Field("pinHashEnc", "encrypted"),
        9: Field("permissions"),
        10: Field("rpId", "whom the rights are for"),
    },
    Ctap2.CMD.CREDENTIAL_MGMT: {1: Field("subCommand"), 2: Field("subCommandParams"), 3: _PROTOCOL, 4: _AUTH},
    Ctap2.CMD.LARGE_BLOBS: {
        1: Field("get"),
        2: Field("set"),
        3: Field("offset"),
        4: Field("length"),
        5: _AUTH,
        6: _PROTOCOL,
    },
    Ctap2.CMD.CONFIG: {1: Field("subCommand"), 2: Field("subCommandParams"), 3: _PROTOCOL, 4: _AUTH},
    **{key: {} for key in (Ctap2.CMD.GET_INFO, Ctap2.CMD.RESET, Ctap2.CMD.GET_NEXT_ASSERTION, Ctap2.CMD.SELECTION)},
}
_MADE: Final[Fields] = {
    1: Field("fmt", "format of the attestation statement"),
    2: Field("authData", "authenticator data", read=authenticator_data),
    3: Field("attStmt", "who vouches for the credential", STATEMENT),
    4: Field("epAtt", "enterprise attestation"),
    5: Field("largeBlobKey", secret=True),
}
_ASSERTED: Final[Fields] = {
    1: _CREDENTIAL,
    2: Field("authData", "authenticator data", read=authenticator_data),
    3: Field("signature", "over authData and clientDataHash; not verified here"),
    4: _USER,
    5: Field("numberOfCredentials", "how many more getNextAssertion gives"),
    6: Field("userSelected"),
    7: Field("largeBlobKey", secret=True),
}
_INFO: Final[Fields] = {
    1: Field("versions"),
    2: Field("extensions"),
    3: Field("aaguid", "the model"),
    4: Field("options"),
    5: Field("maxMsgSize"),
    6: Field("pinUvAuthProtocols"),
    7: Field("maxCredentialCountInList"),
    8: Field("maxCredentialIdLength"),
    9: Field("transports"),
    10: Field("algorithms"),
    11: Field("maxSerializedLargeBlobArray"),
    12: Field("forcePINChange"),
    13: Field("minPINLength"),
    14: Field("firmwareVersion"),
    15: Field("maxCredBlobLength"),
}


def read_request(content: Content, context: Context) -> Node:
    """Return a CTAP2 command. Raises MalformedError where it is none."""
    data = content.data
    if not data or data[0] not in COMMANDS:
        raise MalformedError("$", "does not begin with a CTAP2 command")
    name = named(Ctap2.CMD, data[0])
    parts = [number(0, data[:1], "command", name)]
    if len(data) > 1:
        parts.append(_parameters(data, context, "parameters", COMMANDS[data[0]]))
    return Node(0, len(data), f"CTAP2 request {name}", children=tuple(parts))


def read_response(content: Content, context: Context) -> Node:
    """Return a CTAP2 answer. Raises MalformedError where it is none."""
    data = content.data
    if not data or data[0] not in CtapError.ERR.__members__.values():
        raise MalformedError("$", "does not begin with a CTAP2 status")
    status = named(CtapError.ERR, data[0])
    parts = [number(0, data[:1], "status", status, "" if not data[0] else "the command was not carried out")]
    if len(data) > 1:
        parts.append(_parameters(data, context, "answer", _answer(data)))
    return Node(0, len(data), "CTAP2 response", children=tuple(parts))


def _answer(data: bytes) -> Fields:
    """Return the fields of an answer by the types of its first members, which the commands differ in."""
    if len(data) < 4:
        return {}
    first, kind = data[2], data[3] >> 5
    if first == 1 and kind in _BY_FIRST:
        return _BY_FIRST[kind]
    return _ASSERTED if first == 2 else {}


_TEXT, _ARRAY, _MAP = 3, 4, 5
_BY_FIRST: Final[dict[int, Fields]] = {_TEXT: _MADE, _ARRAY: _INFO, _MAP: _ASSERTED}


def _parameters(data: bytes, context: Context, name: str, fields: Fields) -> Node:
    node = cbor_tree(data, 1, context, name, fields)
    left = len(data) - 1 - node.length
    return node.wrong(f"{left} bytes after the item" if left else canonical_problem(data, 1))


def _looks_request(content: Content) -> bool:
    data = content.data
    return len(data) > 1 and data[0] in COMMANDS and data[1] >> 5 == 5 and not canonical_problem(data, 1)


def _looks_response(content: Content) -> bool:
    data = content.data
    return len(data) > 1 and data[0] == 0 and data[1] >> 5 == 5 and not canonical_problem(data, 1)


KINDS = (
    Kind("ctap-request", "a CTAP2 command", _looks_request, read_request),
    Kind("ctap-response", "a CTAP2 answer", _looks_response, read_response),
)
