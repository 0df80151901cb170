"""JWS and JWE in compact serialisation, header fields that carry them, JWKs (RFC 7515 to 7519, RFC 8292)."""

import re
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.claims import CLAIMS, JWE_HEADER, JWK, JWS_HEADER, kind_of
from fidoloop.protocol.inspect.content import MAX_BYTES, Content, Context, Kind
from fidoloop.protocol.inspect.evidence import records
from fidoloop.protocol.inspect.json_tree import PRIVATE, Member, Members, json_tree
from fidoloop.protocol.inspect.metadata import BLOB
from fidoloop.protocol.inspect.node import Node, held_against_key, octets
from fidoloop.protocol.uaf.metadata_blob import MAX_BLOB_BYTES, MAX_HEADER_CHARACTERS

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){1,3}")
_FIELD: Final = re.compile(
    r"(?:(?:DPoP|OAuth-Client-Attestation(?:-PoP)?|Device-Signature|Authorization)\s*:\s*)?"
    r"(?:(?:Bearer|DPoP)\s+)?(eyJ[\w.-]+)\s*",
    re.IGNORECASE,
)
_VAPID: Final = re.compile(r"(?:Authorization\s*:\s*)?vapid\s+t=([\w.-]+)\s*,\s*k=([\w-]+)\s*", re.IGNORECASE)
_PARTS: Final = ("protected header", "encrypted key", "initialisation vector", "ciphertext", "authentication tag")
_MEANINGS: Final = ("", "the content key, wrapped; empty in ECDH-ES", "", "the content", "of content and header")


def read_jws(content: Content, context: Context) -> Node:
    """Return a compact JWS, a JWT of whatever kind. Raises MalformedError where it is none."""
    token = _token(content)
    parts = token.split(".")
    if len(parts) != 3:
        raise MalformedError("$", f"{len(parts)} parts, a JWS has 3")
    if len(parts[0]) > MAX_HEADER_CHARACTERS:
        raise MalformedError("$.header", f"more than {MAX_HEADER_CHARACTERS} characters")
    header, payload = (
        base64url.decode(part, where) for part, where in zip(parts, ("$.header", "$.payload"), strict=False)
    )
    said = strictjson.loads(header, "$.header")
    if not isinstance(said, dict):
        raise MalformedError("$.header", "not an object")
    inner = Content(payload)
    if len(payload) > MAX_BYTES and not inner.has("no", "nextUpdate", "entries"):
        raise MalformedError("$.payload", f"{len(payload)} bytes, at most {MAX_BYTES} are inspected")
    kind = kind_of(said, inner.json)
    at, inside = [0, len(parts[0]) + 1, len(parts[0]) + len(parts[1]) + 2], context.inside()
    nodes = (
        _part(json_tree(Content(header), inside, "header", JWS_HEADER), at[0], parts[0]),
        _part(_payload(inner, inside, kind.check), at[1], parts[1]),
        _signature(parts, said, at[2], context),
    )
    return Node(0, len(token), kind.title, children=nodes)


def _payload(inner: Content, context: Context, check: Any) -> Node:  # noqa: ANN401  # a callable
    if not isinstance(inner.json, dict):
        return context.find(inner, context) or octets(0, inner.data, "payload")
    members: Members = BLOB if inner.has("entries", "nextUpdate") else CLAIMS
    tree = json_tree(inner, context, "payload", members, check)
    hardware = inner.member("hw")
    if not isinstance(hardware, list):
        return tree
    return tree.but(
        children=tuple(records(one, hardware, context) if one.name == "hw" else one for one in tree.children)
    )


def _signature(parts: list[str], header: dict[str, Any], at: int, context: Context) -> Node:
    node = Node(at, len(parts[2]), "signature", coding="base64url")
    try:
        signature = base64url.decode(parts[2], "$.signature")
    except MalformedError as error:
        return node.but(coding="").wrong(error.what)
    if not signature:
        return node.but(coding="").wrong("there is none")
    return held_against_key(
        node.but(children=(octets(0, signature, "bytes"),)),
        None if context.outer_key is None else lambda: _verify(parts, header, signature, context.outer_key),
    )


def _verify(parts: list[str], header: dict[str, Any], signature: bytes, key: object) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("the key is neither EC nor RSA")
    public = jose.public_jwk(key)
    signed = jose.CompactJws({"alg": str(header.get("alg"))}, b"", f"{parts[0]}.{parts[1]}".encode("ascii"), signature)
    jose.verify_parsed(signed, public, public.signature_algorithms)


def read_jwe(content: Content, context: Context) -> Node:
    """Return a compact JWE, whose content stays encrypted. Raises MalformedError where it is none."""
    token = _token(content)
    parts = token.split(".")
    if len(parts) != 5:
        raise MalformedError("$", f"{len(parts)} parts, a JWE has 5")
    at, nodes = 0, []
    for index, part in enumerate(parts):
        data = base64url.decode(part, f"$ {_PARTS[index]}")
        inner = octets(0, data, "bytes") if index else json_tree(Content(data), context.inside(), "header", JWE_HEADER)
        nodes.append(_part(inner, at, part).but(name=_PARTS[index], meaning=_MEANINGS[index]))
        at += len(part) + 1
    return Node(0, len(token), "a JWE", None, "encrypted: only the header can be read", children=tuple(nodes))


def _part(inner: Node, at: int, text: str) -> Node:
    return Node(
        at, len(text), inner.name, None, inner.meaning, inner.problem, "base64url", None, inner.children or (inner,)
    )


def read_vapid(content: Content, context: Context) -> Node:
    """Return the Authorization header of a push. Raises MalformedError where it is none."""
    match = _VAPID.fullmatch(content.text or "")
    if match is None:
        raise MalformedError("$", "not of the scheme vapid with t and k")
    token = read_jws(Content(match[1].encode()), context)
    point = base64url.decode(match[2], "$ k")
    problem = "" if len(point) == 65 and point[0] == 4 else "not an uncompressed P-256 point"
    key = Node(match.start(2), len(match[2]), "k", None, "the server's public key", problem, "base64url")
    return Node(
        0,
        len(content.text or ""),
        "VAPID (RFC 8292)",
        None,
        "how a server names itself to a push service",
        children=(
            token.but(offset=match.start(1), name="t", meaning="the token", coding="JWS"),
            key.but(children=(octets(0, point, "bytes"),)),
        ),
    )


def read_jwk(content: Content, context: Context) -> Node:
    """Return a JWK, or a set of them; private members are named and not shown. Raises MalformedError."""
    if content.has("keys"):
        return json_tree(content, context, "JWK set", {"keys": Member("the keys", JWK)})
    node = json_tree(content, context, "JWK", JWK)
    if not isinstance(content.json, dict):
        raise MalformedError("$", "not a JWK object")
    public = {name: value for name, value in content.json.items() if name not in PRIVATE}
    try:
        return node.but(meaning=f"thumbprint {jose.parse_public_jwk(public).thumbprint}")
    except MalformedError as error:
        return node.wrong(str(error))


def _token(content: Content) -> str:
    match = _FIELD.fullmatch(content.text or "")
    token = match[1] if match else content.text or ""
    if len(token) > MAX_BLOB_BYTES or not _COMPACT.fullmatch(token):
        raise MalformedError("$", "not a compact serialisation in base64url")
    return token


def _has_parts(content: Content, parts: int) -> bool:
    match = _FIELD.fullmatch(content.text or "")
    token = match[1] if match else content.text or ""
    return token.count(".") == parts - 1 and token.startswith("eyJ") and _COMPACT.fullmatch(token) is not None


KINDS = (
    Kind("vapid", "VAPID", lambda content: _VAPID.fullmatch(content.text or "") is not None, read_vapid, signed=True),
    Kind("jws", "JWS, JWT", lambda content: _has_parts(content, 3), read_jws, signed=True),
    Kind("jwe", "JWE", lambda content: _has_parts(content, 5), read_jwe),
    Kind("jwk", "a JWK or a set of them", lambda content: content.has("kty") or content.has("keys"), read_jwk),
)
