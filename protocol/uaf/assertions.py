"""Registration and authentication assertions (UAF authenticator commands 5.2; digest section 6).

Every field is taken from inside UAFV1_KRD or UAFV1_SIGNED_DATA, never from a tag beside it; a tag that stands
where it may not, stands twice, or is critical and unknown makes the assertion malformed.
"""

import re
import struct
from collections.abc import Callable
from functools import lru_cache

import msgspec

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.registry import AttestationType, Tag
from fidoloop.protocol.uaf.tlv import Span, element, is_critical, sequence, spans, tag_name
from fidoloop.protocol.uaf.usual_layout import SignedDataTemplate, read_usual_layout

MAX_ASSERTION_BYTES = 4096
MIN_NONCE_BYTES = 8
MIN_KEY_ID_BYTES = 32
MAX_KEY_ID_BYTES = 2048
AAID_FORM = re.compile(rb"[0-9A-Fa-f]{4}#[0-9A-Fa-f]{4}")

_HEADER = struct.Struct("<HH")
_REG_INFO = struct.Struct("<HBHH")
_AUTH_INFO = struct.Struct("<HBH")
_REG_COUNTERS = struct.Struct("<II")
_AUTH_COUNTER = struct.Struct("<I")

_EXTENSION_TAGS = frozenset({int(Tag.EXTENSION), int(Tag.EXTENSION_NON_CRITICAL)})
_ATTESTATION_TAGS = frozenset(
    {int(AttestationType.BASIC_FULL), int(AttestationType.BASIC_SURROGATE), int(AttestationType.ECDAA)}
)
_ATTESTATION_FIELDS = frozenset({int(Tag.SIGNATURE), int(Tag.ATTESTATION_CERT)})

_KRD_FIELDS = {
    int(Tag.AAID): "AAID",
    int(Tag.ASSERTION_INFO): "ASSERTION_INFO",
    int(Tag.FINAL_CHALLENGE_HASH): "FINAL_CHALLENGE_HASH",
    int(Tag.KEYID): "KEYID",
    int(Tag.COUNTERS): "COUNTERS",
    int(Tag.PUB_KEY): "PUB_KEY",
}
_SIGNED_DATA_FIELDS = {
    int(Tag.AAID): "AAID",
    int(Tag.ASSERTION_INFO): "ASSERTION_INFO",
    int(Tag.AUTHENTICATOR_NONCE): "AUTHENTICATOR_NONCE",
    int(Tag.FINAL_CHALLENGE_HASH): "FINAL_CHALLENGE_HASH",
    int(Tag.TRANSACTION_CONTENT_HASH): "TRANSACTION_CONTENT_HASH",
    int(Tag.KEYID): "KEYID",
    int(Tag.COUNTERS): "COUNTERS",
}


class AssertionExtension(msgspec.Struct, frozen=True):
    """An extension inside an assertion; `signed` tells whether the assertion's signature covers it."""

    id: str
    data: bytes
    fail_if_unknown: bool
    signed: bool


class RegistrationAssertion(msgspec.Struct, frozen=True):
    """UAFV1_REG_ASSERTION, parsed; `krd` is the signed element with its own header, as received."""

    aaid: str
    authenticator_version: int
    authentication_mode: int
    signature_algorithm: int
    public_key_format: int
    final_challenge_hash: bytes
    key_id: bytes
    sign_counter: int
    registration_counter: int
    public_key: bytes
    attestation_type: int
    attestation_signature: bytes
    attestation_certificates: tuple[bytes, ...]
    extensions: tuple[AssertionExtension, ...]
    krd: bytes
    raw: bytes


class AuthenticationAssertion(msgspec.Struct, frozen=True):
    """UAFV1_AUTH_ASSERTION, parsed; `signed_data` is the signed element with its own header, as received."""

    aaid: str
    authenticator_version: int
    authentication_mode: int
    signature_algorithm: int
    nonce: bytes
    final_challenge_hash: bytes
    transaction_content_hash: bytes
    key_id: bytes
    sign_counter: int
    signature: bytes
    extensions: tuple[AssertionExtension, ...]
    signed_data: bytes
    raw: bytes


def parse_registration_assertion(data: bytes, where: str = "$") -> RegistrationAssertion:
    """Return the registration assertion in `data` (at most MAX_ASSERTION_BYTES bytes).

    Raises:
        MalformedError: size, structure, a field missing, doubled, misplaced or of the wrong length.
    """
    path = f"{where}/UAFV1_REG_ASSERTION"
    krd, beside = _open(data, _REG_ASSERTION, _KRD, where, path)
    fields, extensions = _fields(data, krd, _KRD_FIELDS, f"{path}/UAFV1_KRD")
    attestation = _single(beside, _ATTESTATION_TAGS, path, "attestation")
    _refuse_strangers(beside, _ATTESTATION_TAGS | _EXTENSION_TAGS, path)
    attestation_path = f"{path}/{tag_name(attestation[0])}"
    inner = spans(data, attestation[2], attestation[3], attestation_path)
    _refuse_strangers(inner, _ATTESTATION_FIELDS, attestation_path)
    signature = _single(inner, _SIGNATURE_ONLY, attestation_path, "SIGNATURE")
    version, mode, algorithm, key_format = _unpack(_REG_INFO, fields[_ASSERTION_INFO], path, "ASSERTION_INFO")
    sign_counter, registration_counter = _unpack(_REG_COUNTERS, fields[_COUNTERS], path, "COUNTERS")
    return RegistrationAssertion(
        aaid=_aaid(fields[_AAID], path),
        authenticator_version=version,
        authentication_mode=mode,
        signature_algorithm=algorithm,
        public_key_format=key_format,
        final_challenge_hash=fields[_FINAL_CHALLENGE_HASH],
        key_id=fields[_KEYID],
        sign_counter=sign_counter,
        registration_counter=registration_counter,
        public_key=fields[_PUB_KEY],
        attestation_type=attestation[0],
        attestation_signature=data[signature[2] : signature[3]],
        attestation_certificates=tuple(data[value:end] for tag, _, value, end in inner if tag == Tag.ATTESTATION_CERT),
        extensions=extensions + _unsigned_extensions(data, beside, path),
        krd=data[krd[1] : krd[3]],
        raw=data,
    )


def parse_authentication_assertion(data: bytes, where: str = "$") -> AuthenticationAssertion:
    """Return the authentication assertion in `data` (at most MAX_ASSERTION_BYTES bytes).

    Raises:
        MalformedError: size, structure, a field missing, doubled, misplaced or of the wrong length.
    """
    usual = read_usual_layout(data)
    if usual is None or len(data) > MAX_ASSERTION_BYTES:
        return _parse_any_layout(data, where)
    aaid, version, mode, algorithm, nonce, fc_hash, content_hash, key_id, counter, signature, signed = usual
    # By position: thirteen keywords cost as much as the rest of this function.
    return AuthenticationAssertion(
        _aaid(aaid, where),
        version,
        mode,
        algorithm,
        nonce,
        fc_hash,
        content_hash,
        key_id,
        counter,
        signature,
        (),
        signed,
        data,
    )


def _parse_any_layout(data: bytes, where: str) -> AuthenticationAssertion:
    path = f"{where}/UAFV1_AUTH_ASSERTION"
    signed, beside = _open(data, _AUTH_ASSERTION, _SIGNED_DATA, where, path)
    fields, extensions = _fields(data, signed, _SIGNED_DATA_FIELDS, f"{path}/UAFV1_SIGNED_DATA")
    signature = _single(beside, _SIGNATURE_ONLY, path, "SIGNATURE")
    if len(beside) > 1:  # the rest of the usual case has nothing to look at
        _refuse_strangers(beside, _SIGNATURE_ONLY | _EXTENSION_TAGS, path)
        extensions += _unsigned_extensions(data, beside, path)
    version, mode, algorithm = _unpack(_AUTH_INFO, fields[_ASSERTION_INFO], path, "ASSERTION_INFO")
    (sign_counter,) = _unpack(_AUTH_COUNTER, fields[_COUNTERS], path, "COUNTERS")
    return AuthenticationAssertion(
        aaid=_aaid(fields[_AAID], path),
        authenticator_version=version,
        authentication_mode=mode,
        signature_algorithm=algorithm,
        nonce=fields[_NONCE],
        final_challenge_hash=fields[_FINAL_CHALLENGE_HASH],
        transaction_content_hash=fields[_TRANSACTION_CONTENT_HASH],
        key_id=fields[_KEYID],
        sign_counter=sign_counter,
        signature=data[signature[2] : signature[3]],
        extensions=extensions,
        signed_data=data[signed[1] : signed[3]],
        raw=data,
    )


def encode_krd(
    *,
    aaid: str,
    authenticator_version: int,
    signature_algorithm: int,
    public_key_format: int,
    final_challenge_hash: bytes,
    key_id: bytes,
    sign_counter: int,
    registration_counter: int,
    public_key: bytes,
) -> bytes:
    """Return UAFV1_KRD, header included: the bytes an attestation signs (authentication mode 1)."""
    info = _REG_INFO.pack(authenticator_version, 1, signature_algorithm, public_key_format)
    return element(
        _KRD,
        sequence(
            (_AAID, aaid.encode("ascii")),
            (_ASSERTION_INFO, info),
            (_FINAL_CHALLENGE_HASH, final_challenge_hash),
            (_KEYID, key_id),
            (_COUNTERS, _REG_COUNTERS.pack(sign_counter, registration_counter)),
            (_PUB_KEY, public_key),
        ),
    )


def encode_registration_assertion(
    krd: bytes, *, attestation_type: AttestationType, signature: bytes, certificates: tuple[bytes, ...] = ()
) -> bytes:
    """Return UAFV1_REG_ASSERTION of an encoded `krd` and its attestation (certificates DER, leaf first)."""
    attestation = element(Tag.SIGNATURE, signature) + b"".join(
        element(Tag.ATTESTATION_CERT, certificate) for certificate in certificates
    )
    return element(Tag.UAFV1_REG_ASSERTION, krd + element(attestation_type, attestation))


def encode_signed_data(
    *,
    aaid: str,
    authenticator_version: int,
    authentication_mode: int,
    signature_algorithm: int,
    nonce: bytes,
    final_challenge_hash: bytes,
    transaction_content_hash: bytes,
    key_id: bytes,
    sign_counter: int,
) -> bytes:
    """Return UAFV1_SIGNED_DATA, header included: the bytes an authentication signs."""
    template = SignedDataTemplate(
        aaid.encode("ascii"),
        (authenticator_version, authentication_mode, signature_algorithm),
        key_id=key_id,
        nonce_bytes=len(nonce),
        hash_bytes=(len(final_challenge_hash), len(transaction_content_hash)),
    )
    return template.fill(nonce, final_challenge_hash, transaction_content_hash, sign_counter)


def encode_authentication_assertion(signed_data: bytes, signature: bytes) -> bytes:
    """Return UAFV1_AUTH_ASSERTION of an encoded `signed_data` and its signature.

    Raises:
        struct.error: they are longer than the lengths' two bytes can tell.
    """
    size = len(signature)
    header = _HEADER.pack(_AUTH_ASSERTION, len(signed_data) + 4 + size)
    return b"".join((header, signed_data, _HEADER.pack(_SIGNATURE, size), signature))


# Plain integers: an IntEnum's hash runs in Python and would dominate the parse of an authentication.
_REG_ASSERTION = int(Tag.UAFV1_REG_ASSERTION)
_AUTH_ASSERTION = int(Tag.UAFV1_AUTH_ASSERTION)
_KRD = int(Tag.UAFV1_KRD)
_SIGNED_DATA = int(Tag.UAFV1_SIGNED_DATA)
_AAID = int(Tag.AAID)
_ASSERTION_INFO = int(Tag.ASSERTION_INFO)
_NONCE = int(Tag.AUTHENTICATOR_NONCE)
_FINAL_CHALLENGE_HASH = int(Tag.FINAL_CHALLENGE_HASH)
_TRANSACTION_CONTENT_HASH = int(Tag.TRANSACTION_CONTENT_HASH)
_KEYID = int(Tag.KEYID)
_COUNTERS = int(Tag.COUNTERS)
_PUB_KEY = int(Tag.PUB_KEY)
_EXTENSION_ID = int(Tag.EXTENSION_ID)
_EXTENSION_DATA = int(Tag.EXTENSION_DATA)
_SIGNATURE = int(Tag.SIGNATURE)
_SIGNATURE_ONLY = frozenset({_SIGNATURE})


def _open(data: bytes, outer: int, signed: int, where: str, path: str) -> tuple[Span, list[Span]]:
    """Return the signed first element and the elements beside it."""
    if len(data) > MAX_ASSERTION_BYTES:
        raise MalformedError(where, f"assertion of {len(data)} bytes, at most {MAX_ASSERTION_BYTES} allowed")
    top = spans(data, 0, len(data), where)
    if not top or top[0][0] != outer:
        raise MalformedError(where, f"does not start with {tag_name(outer)}")
    if len(top) > 1:
        raise MalformedError(where, f"{len(data) - top[0][3]} bytes after {tag_name(outer)}")
    inner = spans(data, top[0][2], top[0][3], path)
    if not inner or inner[0][0] != signed:
        raise MalformedError(path, f"first element is not {tag_name(signed)}")
    return inner[0], inner[1:]


def _fields(
    data: bytes, composite: Span, known: dict[int, str], path: str
) -> tuple[dict[int, bytes], tuple[AssertionExtension, ...]]:
    """Return the values of a signed composite by tag, each exactly once, and its extensions."""
    fields: dict[int, bytes] = {}
    extensions: tuple[AssertionExtension, ...] = ()
    for span in spans(data, composite[2], composite[3], path):
        tag, _, value, end = span
        if tag in known:
            if tag in fields:
                raise MalformedError(f"{path}/{known[tag]}", "stands twice")
            fields[tag] = data[value:end]
        elif tag in _EXTENSION_TAGS:
            extensions += (_extension(data, span, path, signed=True),)
        else:
            _refuse_stranger(tag, path)
    if len(fields) < len(known):
        missing = next(name for tag, name in known.items() if tag not in fields)
        raise MalformedError(f"{path}/{missing}", "is missing")
    return fields, extensions


def _refuse_strangers(found: list[Span], allowed: frozenset[int], path: str) -> None:
    for span in found:
        if span[0] not in allowed:
            _refuse_stranger(span[0], path)


def _refuse_stranger(tag: int, path: str) -> None:
    """Refuse a tag we know (it stands in the wrong place) and one we must know; ignore the rest."""
    if tag_name(tag)[:2] != "0x":
        raise MalformedError(f"{path}/{tag_name(tag)}", "does not belong here")
    if is_critical(tag):
        raise MalformedError(f"{path}/{tag_name(tag)}", "is critical and unknown")


def _single(found: list[Span], tags: frozenset[int], path: str, name: str) -> Span:
    matching = [span for span in found if span[0] in tags]
    if len(matching) != 1:
        raise MalformedError(f"{path}/{name}", "is missing" if not matching else "stands twice")
    return matching[0]


def _unsigned_extensions(data: bytes, beside: list[Span], path: str) -> tuple[AssertionExtension, ...]:
    return tuple(_extension(data, span, path, signed=False) for span in beside if span[0] in _EXTENSION_TAGS)


def _extension(data: bytes, span: Span, path: str, *, signed: bool) -> AssertionExtension:
    """Return the extension at `span`: EXTENSION_ID (UTF-8, 1 to 32 bytes) and EXTENSION_DATA, once each."""
    path = f"{path}/{tag_name(span[0])}"
    inner = spans(data, span[2], span[3], path)
    _refuse_strangers(inner, frozenset({_EXTENSION_ID, _EXTENSION_DATA}), path)
    name = _single(inner, frozenset({_EXTENSION_ID}), path, "EXTENSION_ID")
    content = _single(inner, frozenset({_EXTENSION_DATA}), path, "EXTENSION_DATA")
    return AssertionExtension(
        id=_text(data[name[2] : name[3]], f"{path}/EXTENSION_ID", lambda text: 1 <= len(text) <= 32),
        data=data[content[2] : content[3]],
        fail_if_unknown=span[0] == Tag.EXTENSION,
        signed=signed,
    )


def _text(value: bytes, path: str, valid: Callable[[str], bool]) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError(path, "not UTF-8") from None
    if not valid(text):
        raise MalformedError(path, f"{len(text)} characters")
    return text


@lru_cache(maxsize=1024)
def _aaid(value: bytes, path: str) -> str:
    """Return the AAID in upper case: HHHH#HHHH, compared without regard to case (digest 1.1)."""
    if AAID_FORM.fullmatch(value) is None:
        raise MalformedError(f"{path}/AAID", "not of the form HHHH#HHHH")
    return value.decode("ascii").upper()


def _unpack(layout: struct.Struct, value: bytes, path: str, name: str) -> tuple[int, ...]:
    if len(value) != layout.size:
        raise MalformedError(f"{path}/{name}", f"{len(value)} bytes, {layout.size} expected")
    return layout.unpack(value)
