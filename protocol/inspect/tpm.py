"""TPM 2.0 structures: what TPM2_Certify signed, and the key it is about (TPM 2.0 Library, part 2)."""

from collections.abc import Callable

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.tpm_structures import (
    Alg,
    ObjectAttributes,
    parse_certify_info,
    parse_public,
    parse_signature,
)
from fidoloop.protocol.inspect.certificate import describe_key
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.node import Node, bits, named

_MAGIC = b"\xffTCG"
_ATTEST = (
    ("magic", 4, "made by a TPM, not by who asked"),
    ("type", 2, "8017: TPM2_Certify"),
    ("qualifiedSigner", 0, "the attestation key, by its qualified name"),
    ("extraData", 0, "the nonce it was asked with"),
    ("clock", 8, "milliseconds the TPM has been on"),
    ("resetCount", 4, ""),
    ("restartCount", 4, ""),
    ("safe", 1, "whether the clock never went back"),
    ("firmwareVersion", 8, ""),
    ("name", 0, "the certified key: hash of its public area"),
    ("qualifiedName", 0, "and where in the hierarchy it is"),
)
_PUBLIC = (
    ("type", 2, ""),
    ("nameAlg", 2, ""),
    ("objectAttributes", 4, ""),
    ("authPolicy", 0, "what has to be shown to use the key"),
)


def _cut(data: bytes, layout: tuple[tuple[str, int, str], ...]) -> list[Node]:
    """Return the fields of a layout; 0 is a TPM2B, two bytes of length and so many."""
    found, at = [], 0
    for name, size, meaning in layout:
        start = at
        if not size:
            if at + 2 > len(data):
                break
            size = int.from_bytes(data[at : at + 2])  # noqa: PLW2901
            at += 2
        value = data[at : at + size]
        at += len(value)
        problem = "is cut short" if len(value) < size else ""
        found.append(Node(start, at - start, name, value.hex(), meaning, problem))
        if problem:
            return found
    if at < len(data):
        found.append(Node(at, len(data) - at, "rest", data[at:].hex()))
    return found


def _read(
    name: str, layout: tuple[tuple[str, int, str], ...], check: Callable[[bytes], str]
) -> Callable[[Content, Context], Node]:
    def read(content: Content, _: Context) -> Node:
        data = content.data
        if len(data) < 4:
            raise MalformedError("$", f"{len(data)} bytes are no {name}")
        node = Node(0, len(data), name, children=tuple(_said(field) for field in _cut(data, layout)))
        try:
            return node.but(meaning=check(data))
        except MalformedError as error:
            return node.wrong(error.what)

    return read


def _said(field: Node) -> Node:
    number = int(str(field.value) or "0", 16)
    if field.name in ("nameAlg", "type") and field.length == 2:
        return field.but(meaning=named(Alg, number) or field.meaning)
    if field.name == "objectAttributes":
        return field.but(meaning=bits(ObjectAttributes, number))
    return field


def _check_attest(data: bytes) -> str:
    parse_certify_info(data)
    return "what a TPM says of a key it has"


def _check_public(data: bytes) -> str:
    public = parse_public(data)
    return f"{describe_key(public.key)}, name {public.name.hex()}"


def _check_signature(data: bytes) -> str:
    found = parse_signature(data)
    return f"{found.algorithm.name} with {found.hash_algorithm.name}"


read_certify_info = _read("TPMS_ATTEST", _ATTEST, _check_attest)
read_public = _read("TPMT_PUBLIC", _PUBLIC, _check_public)
read_signature = _read("TPMT_SIGNATURE", (("sigAlg", 2, ""), ("hash", 2, "")), _check_signature)


def _is_public(content: Content) -> bool:
    if content.data[:2] not in (b"\0\x01", b"\0\x23"):
        return False
    try:
        parse_public(content.data)
    except MalformedError:
        return False
    return True


KINDS = (
    Kind("tpm-attest", "TPMS_ATTEST", lambda content: content.data.startswith(_MAGIC), read_certify_info),
    Kind("tpm-public", "TPMT_PUBLIC", _is_public, read_public),
)
