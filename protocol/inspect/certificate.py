"""X.509 certificates, above all those that attest: Yubico's PIV and YubiHSM, TPM, Android, packed; public keys."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from fidoloop.protocol import jose
from fidoloop.protocol.certificates import certified_key, load_certificate
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import oids
from fidoloop.protocol.evidence.values import EvidenceRefusal
from fidoloop.protocol.evidence.vendor_extensions import piv_claims, yubihsm_claims
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.der import elements, is_der, read_der
from fidoloop.protocol.inspect.node import Node, held_against_key
from fidoloop.protocol.uaf.key_description import KEY_DESCRIPTION, key_description

_AAGUID: Final = "1.3.6.1.4.1.45724.1.1.4"
_LEVELS: Final = ("software", "trusted environment", "StrongBox")
_TBS: Final = ("serialNumber", "signature", "issuer", "validity", "subject", "subjectPublicKeyInfo")
_TOP: Final = ("tbsCertificate", "signatureAlgorithm", "signatureValue")


def read_certificate(content: Content, context: Context) -> Node:
    """Return a certificate. Raises MalformedError where it is none that can be read."""
    certificate = load_certificate(content.data)
    (top,) = elements(content.data, 0, len(content.data))
    tbs, algorithm, signature = (node.but(name=name) for node, name in zip(top.children, _TOP, strict=True))
    parts = _said(tbs, certificate, context)
    signed = held_against_key(
        signature.but(meaning="by the issuer"),
        None if context.outer_key is None else lambda: _verify(certificate, context.outer_key),
    )
    return Node(
        0,
        len(content.data),
        "certificate",
        certificate.subject.rfc4514_string(),
        children=(tbs.but(meaning="what is signed", children=parts), algorithm, signed),
    )


def _said(tbs: Node, certificate: x509.Certificate, context: Context) -> tuple[Node, ...]:
    parts = list(tbs.children)
    found = []
    if parts and parts[0].name == "[0]":
        found.append(parts.pop(0).but(name="version", value=certificate.version.name, children=()))
    for node, name in zip(parts, _TBS, strict=False):
        found.append(_part(node.but(name=name), certificate, context))
    for node in parts[len(_TBS) :]:
        found.append(_extensions(node, certificate) if node.name == "[3]" else node)
    return tuple(found)


def _part(node: Node, certificate: x509.Certificate, context: Context) -> Node:
    if node.name == "issuer":
        return node.but(value=certificate.issuer.rfc4514_string(), meaning="who vouches", children=())
    if node.name == "subject":
        return node.but(value=certificate.subject.rfc4514_string(), meaning="whose key this is", children=())
    if node.name == "serialNumber":
        serial = certificate.serial_number
        problem = "" if serial > 0 else "not positive (RFC 5280, 4.1.2.2)"
        return node.but(value=f"{serial:x}", meaning="of the certificate, in hexadecimal").wrong(problem)
    if node.name == "validity":
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return node.but(value=f"{begin:%Y-%m-%dT%H:%M:%SZ} to {end:%Y-%m-%dT%H:%M:%SZ}", children=()).wrong(
            _not_now(begin, end, context.now)
        )
    if node.name == "subjectPublicKeyInfo":
        key = certified_key(certificate)
        problem = "" if key is not None else "a kind of key that is not supported"
        return node.but(meaning=describe_key(key)).wrong(problem)
    return node


def _not_now(begin: datetime, end: datetime, now: datetime | None) -> str:
    if now is None:
        return ""
    now = now.astimezone(UTC)
    return "not valid yet" if now < begin else "has run out" if now > end else ""


def describe_key(key: object) -> str:
    """Return what kind of public key it is, with its RFC 7638 thumbprint where it has one."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        kind = key.curve.name
    elif isinstance(key, rsa.RSAPublicKey):
        kind = f"RSA, {key.key_size} bits, exponent {key.public_numbers().e}"
    else:
        return type(key).__name__.strip("_") if key is not None else ""
    try:
        return f"{kind}, thumbprint {jose.public_jwk(key).thumbprint}"
    except ValueError:
        return kind


def _extensions(node: Node, certificate: x509.Certificate) -> Node:
    """Return the extensions, each under its name, with what is known of it."""
    (sequence,) = node.children or (node,)
    known = list(certificate.extensions)
    children = []
    for child, extension in zip(sequence.children, known, strict=False):
        dotted = extension.oid.dotted_string
        name = (child.children[0].meaning or dotted) if child.children else dotted
        critical = "critical: whoever does not know it must refuse" if extension.critical else ""
        value, problem = _extension_value(extension, certificate)
        children.append(
            child.but(
                name=name, value=value, meaning=critical, children=() if value is not None else child.children
            ).wrong(problem)
        )
    return node.but(name="extensions", children=tuple(children))


def _extension_value(extension: x509.Extension[Any], certificate: x509.Certificate) -> tuple[str | None, str]:
    dotted, value = extension.oid.dotted_string, extension.value
    if not isinstance(value, x509.UnrecognizedExtension):
        return _recognised(value), ""
    if dotted == _AAGUID:
        right = len(value.value) == 18 and value.value[:2] == b"\x04\x10"
        return value.value[2:].hex(), "" if right else "not an OCTET STRING of 16 bytes"
    if extension.oid == KEY_DESCRIPTION:
        return _android(certificate)
    arc = dotted.rpartition(".")[0]
    if arc in (oids.YUBICO_PIV, oids.PRIVATE_PIV):
        return _claimed(dotted, lambda: piv_claims(certificate, None), _PIV)
    if arc in (oids.YUBICO_HSM, oids.PRIVATE_HSM):
        return _claimed(dotted, lambda: yubihsm_claims(certificate), _HSM)
    return None, ""


_PIV: Final = {3: ("firmware",), 7: ("serial",), 8: ("pin_policy", "touch_policy"), 9: ("form_factor",)}
_HSM: Final = {
    1: ("firmware",),
    2: ("serial",),
    3: ("origin",),
    4: ("domains",),
    5: ("capabilities",),
    6: ("object_id",),
    9: ("label",),
}


def _claimed(dotted: str, read: Callable[[], Any], names: Mapping[int, tuple[str, ...]]) -> tuple[str | None, str]:
    wanted = names.get(int(dotted.rpartition(".")[2]), ())
    try:
        claims = read()
    except EvidenceRefusal as refusal:
        return None, refusal.detail if wanted else ""
    said = [f"{name.replace('_', ' ')} {_shown(claims[name])}" for name in wanted if name in claims]
    return ", ".join(said) or None, ""


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _android(certificate: x509.Certificate) -> tuple[str | None, str]:
    try:
        found = key_description(certificate)
    except MalformedError as error:
        return None, error.what
    level = found.attestation_level
    where = _LEVELS[level] if level < len(_LEVELS) else str(level)
    return f"attested by {where}, challenge {found.challenge.hex()}", ""


def _recognised(value: x509.ExtensionType) -> str | None:
    if isinstance(value, x509.BasicConstraints):
        return f"a CA, path length {value.path_length}" if value.ca else "no CA"
    if isinstance(value, x509.KeyUsage):
        names = ("digital_signature", "content_commitment", "key_encipherment", "key_agreement", "key_cert_sign")
        return ", ".join(name for name in names if getattr(value, name)) or "none that is known"
    if isinstance(value, x509.SubjectAlternativeName):
        return ", ".join(_general_name(name) for name in value)
    if isinstance(value, x509.SubjectKeyIdentifier):
        return value.digest.hex()
    return None


def _general_name(name: x509.GeneralName) -> str:
    value = name.value
    return value.rfc4514_string() if isinstance(value, x509.Name) else str(value)


def _verify(certificate: x509.Certificate, key: object) -> None:
    signature, data = certificate.signature, certificate.tbs_certificate_bytes
    algorithm = certificate.signature_hash_algorithm
    if isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
        key.verify(signature, data, ec.ECDSA(algorithm))
    elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
        scheme = certificate.signature_algorithm_parameters
        if not isinstance(scheme, padding.PSS | padding.PKCS1v15):
            raise ValueError("not an RSA signature")
        key.verify(signature, data, scheme, algorithm)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
    else:
        raise ValueError("the key is of another kind than the signature")


def read_public_key(content: Content, context: Context) -> Node:
    """Return a SubjectPublicKeyInfo. Raises MalformedError where it is none."""
    key = _public_key(content.data)
    if key is None:
        raise MalformedError("$", "not a SubjectPublicKeyInfo")
    return read_der(content, context).but(name="public key", meaning=describe_key(key))


def _public_key(der: bytes) -> object:
    try:
        return load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None


def _is_certificate(content: Content) -> bool:
    if not is_der(content):
        return False
    try:
        load_certificate(content.data)
    except MalformedError:
        return content.label == "CERTIFICATE"
    return True


def read_private_key(content: Content, _: Context) -> Node:
    """Tell that a private key was given, and show nothing of it."""
    return Node(0, len(content.data), "private key", problem="not shown: whoever has this text has the key")


def _is_private_key(content: Content) -> bool:
    if content.label.endswith("PRIVATE KEY"):
        return True
    if not is_der(content):
        return False
    try:
        load_der_private_key(content.data, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:  # it is encrypted
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


KINDS = (
    Kind("private-key", "a private key", _is_private_key, read_private_key),
    Kind("certificate", "an X.509 certificate", _is_certificate, read_certificate, signed=True),
    Kind(
        "public-key",
        "a public key",
        lambda content: is_der(content) and _public_key(content.data) is not None,
        read_public_key,
    ),
)
