"""DER, and the BER-TLV of smart cards, as a tree (X.690; ISO/IEC 7816-4, annex E)."""

from enum import IntEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import oids
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.node import Node, short

MAX_DEPTH: Final = 24
_NAMED: Final = {
    value.dotted_string: name
    for group in (
        oid.NameOID,
        oid.ExtensionOID,
        oid.ExtendedKeyUsageOID,
        oid.SignatureAlgorithmOID,
        oid.PublicKeyAlgorithmOID,
        ec.EllipticCurveOID,
    )
    for name, value in vars(group).items()
    if hasattr(value, "dotted_string")
}
_PIV: Final = {3: "firmware", 7: "serial number", 8: "PIN and touch policy", 9: "form factor", 10: "FIPS", 11: "CSPN"}
_HSM: Final = {
    1: "firmware",
    2: "serial number",
    3: "origin",
    4: "domains",
    5: "capabilities",
    6: "object id",
    9: "label",
}


def _below(arcs: tuple[str, ...], what: str, names: dict[int, str]) -> dict[str, str]:
    return {f"{arc}.{number}": f"{what}: {name}" for arc in arcs for number, name in names.items()}


OIDS: Final = {
    **_NAMED,
    "1.2.840.10045.3.1.7": "SECP256R1",
    "1.3.6.1.4.1.45724.1.1.4": "id-fido-gen-ce-aaguid",
    "1.3.6.1.4.1.11129.2.1.17": "Android key attestation",
    "1.2.840.113635.100.8.2": "Apple anonymous attestation",
    **_below((oids.YUBICO_PIV, oids.PRIVATE_PIV), "PIV attestation", _PIV),
    **_below((oids.YUBICO_HSM, oids.PRIVATE_HSM), "YubiHSM attestation", _HSM),
    oids.EVIDENCE: "id-evidence",
    oids.ATTESTATION_KEY_USAGE.dotted_string: "id-kp-attestationKey",
    "2.23.133.8.3": "tcg-kp-AIKCertificate",
    "2.23.133.2.1": "TPM manufacturer",
    "2.23.133.2.2": "TPM model",
    "2.23.133.2.3": "TPM version",
}
"""Object identifiers by their names in the standards."""


class Universal(IntEnum):
    """Universal tags (X.690 8.1.2; X.680 8.6)."""

    BOOLEAN = 1
    INTEGER = 2
    BIT_STRING = 3
    OCTET_STRING = 4
    NULL = 5
    OBJECT_IDENTIFIER = 6
    ENUMERATED = 10
    UTF8_STRING = 12
    SEQUENCE = 16
    SET = 17
    PRINTABLE_STRING = 19
    T61_STRING = 20
    IA5_STRING = 22
    UTC_TIME = 23
    GENERALIZED_TIME = 24
    VISIBLE_STRING = 26
    BMP_STRING = 30


_TEXTS: Final = frozenset({12, 19, 22, 23, 24, 26})


def elements(data: bytes, start: int, end: int, depth: int = 0) -> tuple[Node, ...]:
    """Return the elements that fill `data[start:end]`; what does not is one node that says so."""
    found = []
    while start < end:
        node = _element(data, start, end, depth)
        found.append(node)
        start += node.length
    return tuple(found)


def _element(data: bytes, start: int, end: int, depth: int) -> Node:
    header = _header(data, start, end)
    if header is None:
        return Node(start, end - start, "rest", short(data[start:end].hex()), problem="no tag and length")
    tag, value, length = header
    if value + length > end:
        problem = f"its length {length} runs {value + length - end} bytes past the end"
        return Node(start, end - start, _name(data[start], tag), short(data[value:end].hex()), problem=problem)
    stop = value + length
    node = Node(start, stop - start, _name(data[start], tag))
    if data[start] & 0x20:
        if depth >= MAX_DEPTH:
            return node.wrong(f"nested deeper than {MAX_DEPTH}")
        return node.but(children=elements(data, value, stop, depth + 1))
    return _primitive(node, data[start], data[value:stop])


def _header(data: bytes, start: int, end: int) -> tuple[int, int, int] | None:
    """Return tag number, where the value begins, and its length."""
    at, number = start + 1, data[start] & 0x1F
    if number == 0x1F:
        number = 0
        while True:
            if at >= end or at - start > 4:
                return None
            number = number << 7 | data[at] & 0x7F
            at += 1
            if not data[at - 1] & 0x80:
                break
    if at >= end:
        return None
    length = data[at]
    at += 1
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or at + count > end:
            return None
        length = int.from_bytes(data[at : at + count])
        at += count
    return number, at, length


def _name(first: int, number: int) -> str:
    kind = first >> 6
    if kind == 0:
        known = number in Universal.__members__.values()
        return Universal(number).name.replace("_", " ") if known else f"universal {number}"
    return f"{('', 'application ', '', 'private ')[kind]}[{number}]"


def _primitive(node: Node, first: int, value: bytes) -> Node:
    number = first & 0x1F if first < 0x40 else -1
    if number == Universal.OBJECT_IDENTIFIER:
        dotted = dotted_string(value)
        return node.but(value=dotted, meaning=OIDS.get(dotted, "")) if dotted else node.wrong("no object identifier")
    if number in (Universal.INTEGER, Universal.ENUMERATED) and 0 < len(value) <= 8:
        return node.but(value=int.from_bytes(value, signed=True))
    if number == Universal.BOOLEAN and len(value) == 1:
        return node.but(value=value != b"\0")
    if number in _TEXTS:
        text = value.decode("utf-8", "replace")
        return node.but(value=short(text))
    return node.but(value=short(value.hex()) if value else None)


def dotted_string(value: bytes) -> str:
    """Return an object identifier's content in dotted form, empty where it is none."""
    if not value or value[-1] & 0x80 or len(value) > 64:
        return ""
    arcs, number = [], 0
    for octet in value:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(number)
            number = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def read_der(content: Content, _: Context) -> Node:
    """Return whatever is in DER or BER-TLV. Raises MalformedError where nothing is."""
    data = content.data
    if len(data) < 2 or _header(data, 0, len(data)) is None:
        raise MalformedError("$", "no tag and length")
    return Node(0, len(data), content.label.lower() or "DER", children=elements(data, 0, len(data)))


def is_der(content: Content) -> bool:
    """Tell whether it is one SEQUENCE and nothing else."""
    data = content.data
    header = _header(data, 0, len(data)) if len(data) > 2 and data[0] == 0x30 else None
    return header is not None and header[1] + header[2] == len(data)


KINDS = (Kind("der", "DER or BER-TLV", is_der, read_der),)
