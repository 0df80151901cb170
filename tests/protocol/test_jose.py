import base64
import json
import zlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe, jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from fidoloop.protocol import base64url, jose
from fidoloop.protocol.errors import MalformedError

from .builders import numbered, p256, raw, rsa2048

P384 = ec.derive_private_key(12345, ec.SECP384R1())
KEYS: dict[str, Any] = {"P-256": p256(), "P-384": P384, "RSA": rsa2048()}
EACH_KEY = pytest.mark.parametrize("kind", KEYS)
PUBLIC = jose.public_jwk(p256().public_key())
MEMBERS = dict(PUBLIC.members)
RSA_MEMBERS = dict(jose.public_jwk(rsa2048().public_key()).members)


XY = base64url.decode(MEMBERS["x"]) + base64url.decode(MEMBERS["y"])


def segment(value: object) -> str:
    return base64url.encode(value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode())


def jws_with(header: object, payload: bytes = b"{}") -> str:
    """Returns a JWS with any header whatever, rightly signed by the P-256 key."""
    signed = f"{segment(header)}.{base64url.encode(payload)}"
    return f"{signed}.{base64url.encode(raw(p256(), signed.encode()))}"


def jwe_with(**changes: object) -> str:
    """Returns a JWE to the P-256 key, its header changed afterwards; a member set to None is left out."""
    head, *rest = jose.encrypt_compact(b"{}", PUBLIC).split(".")
    header = {**json.loads(base64url.decode(head)), **changes}
    return ".".join([segment({name: value for name, value in header.items() if value is not None}), *rest])


# Public keys


@EACH_KEY
def test_a_public_jwk_reads_back(kind: str) -> None:
    jwk = jose.public_jwk(KEYS[kind].public_key())
    assert jose.parse_public_jwk(jwk.to_json()) == jwk
    assert jose.parse_public_jwk({**jwk.members, "use": "sig", "kid": "x"}).members == jwk.members
    assert set(jwk.members) == ({"e", "kty", "n"} if kind == "RSA" else {"crv", "kty", "x", "y"})


def test_the_thumbprint_is_the_one_of_rfc_7638() -> None:
    example = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE"
        "CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Q"
        "vzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6"
        "WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    assert jose.parse_public_jwk(example).thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_private_members_are_refused_and_not_repeated(member: str) -> None:
    for members in (MEMBERS, RSA_MEMBERS):
        with pytest.raises(MalformedError, match=f"private member {member}") as caught:
            jose.parse_public_jwk({**members, member: "c2VjcmV0"})
        assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "",
        "[]",
        "{",
        '{"kty":"EC","kty":"RSA"}',
        {},
        {"kty": "oct"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {**MEMBERS, "crv": "P-521"},
        {**MEMBERS, "crv": "secp256k1"},
        {**MEMBERS, "crv": ["P-256"]},
        {**MEMBERS, "x": 1},
        {**MEMBERS, "x": MEMBERS["x"] + "="},
        {**MEMBERS, "x": "AA"},
        {**MEMBERS, "x": "AAAA" + MEMBERS["x"]},
        {**MEMBERS, "y": MEMBERS["x"]},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {**RSA_MEMBERS, "n": "AQAB"},
        {**RSA_MEMBERS, "n": base64url.encode(b"\xff" * 513)},
        {**RSA_MEMBERS, "e": "AQ"},
        {**RSA_MEMBERS, "e": "Ag"},
        {**RSA_MEMBERS, "e": ""},
        {**RSA_MEMBERS, "e": base64url.encode(b"\x01" * 5)},
        {**RSA_MEMBERS, "n": 5},
        {**RSA_MEMBERS, "kty": "oct"},
        {**MEMBERS, "x": base64url.encode(XY[:33]), "y": base64url.encode(XY[33:])},
        PUBLIC.to_json() + " " * 5000,
        " " * 5000 + "{}",
    ],
)
def test_what_is_no_public_jwk_is_malformed(value: object) -> None:
    with pytest.raises(MalformedError):
        jose.parse_public_jwk(value)


def test_other_keys_have_no_jwk() -> None:
    with pytest.raises(ValueError, match="no JWK"):
        jose.public_jwk(ec.derive_private_key(5, ec.SECP521R1()).public_key())
    with pytest.raises(ValueError, match="JOSE needs"):
        jose.jose_private_key(ed25519.Ed25519PrivateKey.generate())


# Signatures


@EACH_KEY
def test_a_signature_verifies_with_its_key_only(kind: str) -> None:
    token = jose.sign_compact(b'{"a":1}', KEYS[kind], {"typ": "x"})
    algorithm = {"P-256": "ES256", "P-384": "ES384", "RSA": "PS256"}[kind]
    assert json.loads(base64url.decode(token.split(".")[0])) == {"alg": algorithm, "typ": "x"}
    assert jose.verify_compact(token, jose.public_jwk(KEYS[kind].public_key())) == b'{"a":1}'
    for other in (p256(1), P384, rsa2048()):
        if other is not KEYS[kind]:
            with pytest.raises(jose.JoseRefusal):
                jose.verify_compact(token, jose.public_jwk(other.public_key()))


def test_rs256_is_accepted_from_an_rsa_key() -> None:
    token = jws.serialize_compact({"alg": "RS256"}, b"x", RSAKey.import_key(rsa2048()), ["RS256"])
    assert jose.verify_compact(token, jose.public_jwk(rsa2048().public_key())) == b"x"


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
@pytest.mark.parametrize("kind", ["P-256", "RSA"])
def test_a_public_key_is_never_an_hmac_secret(algorithm: str, kind: str) -> None:
    jwk = jose.public_jwk(KEYS[kind].public_key())
    for secret in (jwk.to_json(), jwk.members.get("n", jwk.members.get("x", ""))):
        token = jws.serialize_compact({"alg": algorithm}, b"x", OctKey.import_key(secret), [algorithm])
        with pytest.raises(jose.JoseRefusal):
            jose.verify_compact(token, jwk)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "NONE"},
        {"alg": "es256"},
        {"alg": "ES384"},
        {"alg": "PS256"},
        {"alg": "HS256"},
        {"alg": "ES256K"},
        {"alg": "EdDSA"},
        {"alg": "ES256", "crit": []},
        {"alg": "ES256", "crit": ["exp"], "exp": 1},
        {"alg": "ES256", "crit": ["b64"], "b64": False},
        {"alg": "ES256", "crit": "exp"},
        {"alg": "ES256", "b64": False},
        {"alg": "ES256", "kid": 1},
    ],
)
def test_a_header_outside_the_rules_is_refused_though_the_signature_is_right(header: dict[str, Any]) -> None:
    with pytest.raises(jose.JoseRefusal):
        jose.verify_compact(jws_with(header), PUBLIC)


@pytest.mark.parametrize(
    "token",
    numbered(
        "",
        "a",
        "a.b",
        "a.b.c.d",
        jws_with({"alg": "ES256"}) + ".e30",
        jws_with([]),
        jws_with({}),
        jws_with({"alg": 1}),
        jws_with(b'{"alg":"ES256","alg":"none"}'),
        jws_with(b'{"alg":"ES256"'),
        jws_with(b"\xff"),
        jws_with({"alg": "ES256"}).replace(".", "=.", 1),
        jws_with({"alg": "ES256"}, b"x" * jose.MAX_JOSE_CHARACTERS),
    ),
)
def test_what_is_no_compact_jws_is_malformed(token: str) -> None:
    with pytest.raises(MalformedError):
        jose.verify_compact(token, PUBLIC)


def test_an_unsigned_token_is_refused() -> None:
    for token in (f"{segment({'alg': 'none'})}.e30.", f"{segment({'alg': 'ES256'})}.e30."):
        with pytest.raises(jose.JoseRefusal):
            jose.verify_compact(token, PUBLIC)


def test_a_changed_payload_or_signature_is_refused() -> None:
    head, payload, signature = jws_with({"alg": "ES256"}).split(".")
    short = base64url.encode(base64url.decode(signature)[:-2])
    wrong = [f"{head}.e2E.{signature}", f"{head}.{payload}.{'A' * 86}", f"{head}.{payload}.{short}"]
    der = base64url.encode(p256().sign(f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256())))
    for token in [*wrong, f"{head}.{payload}.{der}"]:
        with pytest.raises(jose.JoseRefusal):
            jose.verify_compact(token, PUBLIC)


def test_a_header_may_hold_keys_and_certificates_and_they_are_not_used() -> None:
    for header in ({"x5c": [base64.b64encode(b"x" * 900).decode()]}, {"jwk": RSA_MEMBERS}, {"unknown": "x" * 2000}):
        assert jose.verify_compact(jws_with({"alg": "ES256", **header}), PUBLIC) == b"{}"
        made = jose.sign_compact(b"{}", p256(), header)
        assert jose.verify_compact(made, PUBLIC) == b"{}"
    other = jose.public_jwk(p256(1).public_key())
    with pytest.raises(jose.JoseRefusal):
        jose.verify_compact(jws_with({"alg": "ES256", "jwk": MEMBERS}), other)


# Encryption


def test_the_key_a_jwe_names_is_read_without_decrypting() -> None:
    assert jose.key_id(jose.encrypt_compact(b"{}", PUBLIC)) == PUBLIC.thumbprint
    for kid in (None, 1):
        assert jose.key_id(jwe_with(kid=kid)) is None
    with pytest.raises(MalformedError):
        jose.key_id("a.b.c")


@EACH_KEY
def test_what_is_encrypted_to_a_key_is_decrypted_by_it_only(kind: str) -> None:
    recipient = jose.public_jwk(KEYS[kind].public_key())
    token = jose.encrypt_compact(b'{"token":"t"}', recipient)
    header = json.loads(base64url.decode(token.split(".")[0]))
    assert header["alg"] == ("RSA-OAEP-256" if kind == "RSA" else "ECDH-ES+A256KW")
    assert (header["enc"], header["cty"], header["kid"]) == ("A256GCM", "application/json", recipient.thumbprint)
    assert jose.decrypt_compact(token, KEYS[kind]) == b'{"token":"t"}'
    with pytest.raises(jose.JoseRefusal, match="another key"):
        jose.decrypt_compact(token, p256(1))


@pytest.mark.parametrize("enc", ["A256GCM", "A128GCM"])
@pytest.mark.parametrize(("kind", "alg"), [("P-256", "ECDH-ES"), ("P-256", "ECDH-ES+A256KW"), ("RSA", "RSA-OAEP-256")])
def test_the_allowed_algorithms_decrypt_with_or_without_kid(kind: str, alg: str, enc: str) -> None:
    key = ECKey.import_key({**MEMBERS}) if kind == "P-256" else RSAKey.import_key({**RSA_MEMBERS})
    token = jwe.encrypt_compact({"alg": alg, "enc": enc}, b"{}", key, [alg, enc])
    assert jose.decrypt_compact(token, KEYS[kind]) == b"{}"


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize(
    ("kind", "alg", "enc"),
    [
        ("RSA", "RSA1_5", "A256GCM"),
        ("RSA", "RSA-OAEP", "A256GCM"),
        ("P-256", "ECDH-ES+A128KW", "A256GCM"),
        ("P-256", "ECDH-ES", "A128CBC-HS256"),
        ("P-256", "ECDH-ES", "A256CBC-HS512"),
        ("oct", "dir", "A256GCM"),
        ("oct", "A256KW", "A256GCM"),
        ("oct", "PBES2-HS256+A128KW", "A256GCM"),
    ],
)
def test_other_algorithms_are_refused(kind: str, alg: str, enc: str) -> None:
    keys: dict[str, Any] = {"P-256": ECKey.import_key({**MEMBERS}), "RSA": RSAKey.import_key({**RSA_MEMBERS})}
    key = keys.get(kind) or OctKey.import_key(b"k" * 32)
    token = jwe.encrypt_compact({"alg": alg, "enc": enc}, b"{}", key, [alg, enc])
    for private in KEYS.values():
        with pytest.raises(jose.JoseRefusal):
            jose.decrypt_compact(token, private)


def test_compressed_content_is_refused() -> None:
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "zip": "DEF"}
    assert len(zlib.compress(b" " * 100_000)) < 200
    token = jwe.encrypt_compact(header, b" " * 100_000, ECKey.import_key({**MEMBERS}), ["ECDH-ES", "A256GCM", "DEF"])
    with pytest.raises(jose.JoseRefusal):
        jose.decrypt_compact(token, p256())


NO_TEXTS: list[Any] = [[], {}, True, 1.5]
EPK = json.loads(base64url.decode(jose.encrypt_compact(b"", PUBLIC).split(".")[0]))["epk"]


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "dir"},
        {"alg": "RSA-OAEP-256"},
        {"enc": None},
        {"enc": 1},
        {"enc": "A128GCM"},
        {"epk": None},
        {"epk": "x"},
        {"epk": {}},
        {"epk": {"kty": "oct", "k": "AA"}},
        {"epk": {**EPK, "y": EPK["x"]}},
        {"epk": {**EPK, "crv": "P-384"}},
        {"epk": {**EPK, "crv": "unknown"}},
        {"epk": {**EPK, "crv": 1}},
        {"epk": {"kty": "EC", "crv": "P-256", "x": 1, "y": []}},
        {"epk": RSA_MEMBERS},
        {"epk": {"kty": "OKP", "crv": "X25519", "x": "A" * 43}},
        {"kid": 1},
        {"kid": "other"},
        {"kid": None},
        {"apu": 1},
        {"apv": "*"},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"zip": "DEF"},
        {"unknown": "x" * 2000},
        # What is looked up must be a text before it is.
        *({member: value} for member in ("enc", "zip", "epk", "apu", "apv", "kid") for value in NO_TEXTS),
        *({"epk": {**EPK, member: value}} for member in ("kty", "crv", "x", "y") for value in NO_TEXTS),
    ],
)
def test_a_jwe_with_a_changed_header_is_refused(changes: dict[str, Any]) -> None:
    assert jose.decrypt_compact(jwe_with(), p256()) == b"{}"
    with pytest.raises(jose.JoseRefusal):
        jose.decrypt_compact(jwe_with(**changes), p256())


def test_an_unknown_header_member_does_not_hinder() -> None:
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "unknown": "x" * 2000}
    registry = jwe.JWERegistry(algorithms=["ECDH-ES", "A256GCM"], strict_check_header=False)
    registry.max_protected_header_length = 4096
    token = jwe.encrypt_compact(header, b"{}", ECKey.import_key({**MEMBERS}), registry=registry)
    assert jose.decrypt_compact(token, p256()) == b"{}"


@given(
    st.integers(0, 4),
    st.text(max_size=8) | st.binary(max_size=20).map(base64url.encode),
    st.sampled_from(["P-256", "RSA"]),
)
def test_a_jwe_with_a_changed_part_raises_nothing_else(part: int, text: str, kind: str) -> None:
    parts = JWES[kind].split(".")
    parts[part] = text
    if ".".join(parts) == JWES[kind]:
        return
    with pytest.raises((jose.JoseRefusal, MalformedError)):
        jose.decrypt_compact(".".join(parts), KEYS[kind])


JWES = {kind: jose.encrypt_compact(b"{}", jose.public_jwk(key.public_key())) for kind, key in KEYS.items()}


@given(
    st.text(max_size=60) | st.lists(st.binary(max_size=12).map(base64url.encode), min_size=3, max_size=5).map(".".join)
)
def test_arbitrary_tokens_raise_nothing_else(token: str) -> None:
    with pytest.raises((jose.JoseRefusal, MalformedError)):
        jose.verify_compact(token, PUBLIC)
    with pytest.raises((jose.JoseRefusal, MalformedError)):
        jose.decrypt_compact(token, p256())


def test_an_rsa_key_of_another_size_is_refused() -> None:
    small = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 - that it is too small is the point
    with pytest.raises(MalformedError, match="2048 to 4096"):
        jose.parse_public_jwk(dict(jose.public_jwk(small).members))
