"""Files of hardware evidence: records of media type, value and indicator, each read as its kind."""

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import cmw
from fidoloop.protocol.evidence.values import EvidenceRefusal
from fidoloop.protocol.evidence.verify import describe_evidence
from fidoloop.protocol.inspect.certificate import read_public_key
from fidoloop.protocol.inspect.content import NOT_JSON, Content, Context, Kind
from fidoloop.protocol.inspect.embedded import in_base64, in_base64url
from fidoloop.protocol.inspect.json_tree import Member, Members, inside, json_tree
from fidoloop.protocol.inspect.node import Node, octets
from fidoloop.protocol.inspect.tpm import read_certify_info, read_public, read_signature

_VALUE: Members = {
    "attest": Member("what the TPM signed", read=in_base64url(read_certify_info)),
    "signature": Member("by the attestation key", read=in_base64url(read_signature)),
    "public": Member("the key", read=in_base64url(read_public)),
    "ak_public": Member("the attestation key", read=in_base64url(read_public)),
    "ak_chain": Member("certificates of the attestation key", read=in_base64),
    "spki": Member("the key", read=in_base64url(read_public_key)),
    "token_kind": Member("what the module says it is; nobody signed that"),
    "local": Member("made in the token, its module says"),
    "never_extractable": Member("never left the token, its module says"),
}


def read_evidence(content: Content, context: Context) -> Node:
    """Return a file of evidence. Raises MalformedError where it is no JSON array."""
    if not isinstance(content.json, list):
        raise MalformedError("$", "not a JSON array of records")
    tree = records(json_tree(content, context, "evidence", {}), content.json, context)
    try:
        _, claims = describe_evidence(cmw.decode(content.data))
    except (MalformedError, EvidenceRefusal) as error:
        return tree.wrong(str(error))
    said = "; ".join(f"{name} {value}" for name, value in claims.items())
    return tree.but(meaning=f"not verified (`fidoloop keys verify-evidence` does); it says: {said}")


def records(tree: Node, said: list[object], context: Context) -> Node:
    """Return the tree of an array of records, each taken apart; `said` is the array."""
    return tree.but(children=tuple(_record(node, one, context) for node, one in zip(tree.children, said, strict=True)))


def _record(node: Node, said: object, context: Context) -> Node:
    if not isinstance(said, list) or len(said) != 3 or not isinstance(said[1], str):
        return node.wrong("not a media type, a value and an indicator")
    kind, value, indicator = node.children
    try:
        data = base64url.decode(said[1])
    except MalformedError as error:
        return node.wrong(error.what)
    inner = _value(Content(data), context.inside())
    return node.but(
        children=(
            kind.but(name="media type"),
            inside(value.but(name="value"), inner, "base64url"),
            indicator.but(name="indicator", meaning="4: evidence"),
        )
    )


def _value(content: Content, context: Context) -> Node:
    if content.json is NOT_JSON:
        return context.find(content, context) or octets(0, content.data, "bytes")
    if isinstance(content.json, list):
        tree = json_tree(content, context, "x5c", {})
        children = tuple(_chained(node, text, context) for node, text in zip(tree.children, content.json, strict=True))
        return tree.but(children=children)
    return json_tree(content, context, "value", _VALUE)


def _chained(node: Node, text: object, context: Context) -> Node:
    if not isinstance(text, str):
        return node.wrong("not base64 DER")
    try:
        return inside(node, in_base64(text, context), "base64")
    except MalformedError as error:
        return node.wrong(error.what)


def _looks(content: Content) -> bool:
    value = content.json
    return isinstance(value, list) and bool(value) and all(_is_record(one) for one in value)


def _is_record(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str) and "/" in value[0]


KINDS = (Kind("evidence", "a file of hardware evidence", _looks, read_evidence),)
