"""UAF assertions, and other TLV of UAF (UAF authenticator commands 4 and 5.2)."""

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.node import Node, held_against_key
from fidoloop.protocol.uaf import dissect
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.registry import Tag
from fidoloop.protocol.uaf.signatures import verify_signature

_MEANINGS = {
    "UAFV1_REG_ASSERTION": "registration: a new public key and its attestation",
    "UAFV1_AUTH_ASSERTION": "authentication: a signature by a registered key",
    "UAFV1_KRD": "key registration data: what the attestation signs, this header included",
    "UAFV1_SIGNED_DATA": "what the user's key signs, this header included",
    "AAID": "model of the authenticator (vendor#model)",
    "ASSERTION_INFO": "version of the authenticator and how it signed",
    "authenticatorVersion": "must not be below that of the metadata statement",
    "authenticationMode": "1: the user was verified; 2: the user was shown a transaction and confirmed it",
    "signatureAlgAndEncoding": "ALG_SIGN of the registry",
    "publicKeyAlgAndEncoding": "ALG_KEY of the registry",
    "FINAL_CHALLENGE_HASH": "hash of the fcParams string, which holds the server's challenge",
    "KEYID": "names the key within its model",
    "COUNTERS": "how often: a sign counter that goes back betrays a copy",
    "signCounter": "signatures so far, 0 where the authenticator keeps no count",
    "registrationCounter": "registrations so far, 0 where the authenticator keeps no count",
    "PUB_KEY": "the user's new public key",
    "AUTHENTICATOR_NONCE": "the authenticator's own randomness",
    "TRANSACTION_CONTENT_HASH": "hash of the transaction shown, empty where there was none",
    "SIGNATURE": "over the signed element with its header",
    "ATTESTATION_CERT": "certificate of the attestation key; the first is the signer's",
    "ATTESTATION_BASIC_FULL": "signed by an attestation key of the model",
    "ATTESTATION_BASIC_SURROGATE": "self-signed by the new key: vouches for no model",
    "ATTESTATION_ECDAA": "anonymous group signature",
    "EXTENSION": "whoever does not know it must refuse the assertion",
    "EXTENSION_NON_CRITICAL": "may be passed over",
}
_STARTS = tuple(int(tag).to_bytes(2, "little") for tag in (Tag.UAFV1_REG_ASSERTION, Tag.UAFV1_AUTH_ASSERTION))
_TAGS = frozenset(int(tag).to_bytes(2, "little") for tag in Tag)


def read_assertion(content: Content, context: Context) -> Node:
    """Return every byte of an assertion. Raises MalformedError where it is too long to become one."""
    data = content.data
    tree = _annotated(dissect.dissect_assertion(data))
    try:
        return _verified(tree, data, context)
    except MalformedError as error:
        return tree if context.key is None else tree.wrong(f"not held against the key: {error}")


def read_tlv(content: Content, _: Context) -> Node:
    """Return the elements of any TLV of UAF. Raises MalformedError where it is too long."""
    return _annotated(dissect.dissect_elements(content.data))


def _verified(tree: Node, data: bytes, context: Context) -> Node:
    if data.startswith(_STARTS[1]):
        auth = parse_authentication_assertion(data)
        algorithm, signature, signed = auth.signature_algorithm, auth.signature, auth.signed_data
    else:
        reg = parse_registration_assertion(data)
        algorithm, signature, signed = reg.signature_algorithm, reg.attestation_signature, reg.krd

    def change(node: Node) -> Node:
        if node.name != "SIGNATURE":
            return node
        key = context.key
        verify = None if key is None else lambda: verify_signature(key, algorithm, signature, signed)
        return held_against_key(node, verify)

    return tree.map(change)


def _annotated(node: dissect.Node) -> Node:
    children = tuple(_annotated(child) for child in node.children)
    meaning = _MEANINGS.get(node.name, "")
    return Node(node.offset, node.length, node.name, node.value, meaning, node.problem, children=children)


KINDS = (
    Kind("assertion", "a UAF assertion", lambda content: content.data[:2] in _STARTS, read_assertion, signed=True),
    Kind("tlv", "TLV of UAF", lambda content: len(content.data) >= 4 and content.data[:2] in _TAGS, read_tlv),
)
