"""Making keys in a token, and refusing those that are not what was asked for."""

from typing import Any, Final

import pkcs11 as p11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from fidoloop.hsm.errors import KeyExists, KeyRefused, ModuleError, NotSupported
from fidoloop.hsm.keystore import KeyAlgorithm, KeyInfo, KeyUsage
from fidoloop.hsm.pkcs11.kinds import kind_of
from fidoloop.hsm.pkcs11.objects import CURVES, EDWARDS_CURVES, read_key, read_public, search

_USAGES: Final = {
    (KeyAlgorithm.P256, KeyUsage.SIGN): (Attribute.SIGN, Attribute.VERIFY),
    (KeyAlgorithm.P256, KeyUsage.DERIVE): (Attribute.DERIVE, Attribute.DERIVE),
    (KeyAlgorithm.P384, KeyUsage.SIGN): (Attribute.SIGN, Attribute.VERIFY),
    (KeyAlgorithm.P384, KeyUsage.DERIVE): (Attribute.DERIVE, Attribute.DERIVE),
    (KeyAlgorithm.RSA2048, KeyUsage.SIGN): (Attribute.SIGN, Attribute.VERIFY),
    (KeyAlgorithm.RSA2048, KeyUsage.DECRYPT): (Attribute.DECRYPT, Attribute.ENCRYPT),
    (KeyAlgorithm.P521, KeyUsage.SIGN): (Attribute.SIGN, Attribute.VERIFY),
    (KeyAlgorithm.SECP256K1, KeyUsage.SIGN): (Attribute.SIGN, Attribute.VERIFY),
    (KeyAlgorithm.ED25519, KeyUsage.SIGN): (Attribute.SIGN, Attribute.VERIFY),
    (KeyAlgorithm.ED448, KeyUsage.SIGN): (Attribute.SIGN, Attribute.VERIFY),
}
_GENERATION: Final = {
    KeyAlgorithm.P256: Mechanism.EC_KEY_PAIR_GEN,
    KeyAlgorithm.P384: Mechanism.EC_KEY_PAIR_GEN,
    KeyAlgorithm.RSA2048: Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    KeyAlgorithm.P521: Mechanism.EC_KEY_PAIR_GEN,
    KeyAlgorithm.SECP256K1: Mechanism.EC_KEY_PAIR_GEN,
    KeyAlgorithm.ED25519: Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
    KeyAlgorithm.ED448: Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
}
# What each module is known to have beyond what mechanisms tell; tpm2-pkcs11 and other modules: what every one has.
_CURVES_OF_KIND: Final = {"softhsm": frozenset({*CURVES, *EDWARDS_CURVES})}
_USUAL_CURVES: Final = frozenset({KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.ED25519})
_PROTECTED: Final = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


def generate_pair(
    session: p11.Session, algorithm: KeyAlgorithm, usage: KeyUsage, key_id: bytes, label: str
) -> tuple[KeyInfo, Any]:
    """Make a key pair, read its attributes back, and leave nothing behind if anything is wrong.

    Returns what was read and python-pkcs11's private key object.

    Raises:
        KeyExists, KeyRefused, NotSupported, ModuleError; PKCS11Error for the caller to translate.
    """
    if (algorithm, usage) not in _USAGES:
        raise NotSupported(f"a {algorithm} key cannot be for {usage.name or 'nothing'}")
    if not key_id:
        raise ValueError("a key needs an id")
    _check_mechanisms(session, algorithm, usage)
    if any(isinstance(found, p11.PrivateKey | p11.PublicKey) for found in search(session, None, key_id)):
        raise KeyExists(f"a key with id {key_id.hex()} is in the token already")
    try:
        public, private = _generate(session, algorithm, usage, key_id, label)
        info = read_key(private, read_public(public))
        if info is None:
            raise ModuleError("the token made a key whose public part cannot be read")
        check_protection(
            sensitive=info.sensitive,
            extractable=info.extractable,
            never_extractable=info.never_extractable,
            local=info.local,
        )
    except BaseException:
        _destroy_quietly(session, key_id, ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
        raise
    return info, private


def signing_algorithms(token: p11.Token) -> frozenset[KeyAlgorithm]:
    """Return the kinds of key to sign with that the token is known to make."""
    mechanisms = token.slot.get_mechanisms()
    curves = _CURVES_OF_KIND.get(kind_of(token), _USUAL_CURVES)
    return frozenset(
        algorithm
        for algorithm, mechanism in _GENERATION.items()
        if mechanism in mechanisms
        and (algorithm is KeyAlgorithm.RSA2048 or algorithm in curves)
        and not (algorithm in CURVES and Mechanism.ECDSA not in mechanisms)
        and not (algorithm in EDWARDS_CURVES and Mechanism.EDDSA not in mechanisms)
    )


def generate_mac_key(session: p11.Session, key_id: bytes, label: str) -> Any:  # noqa: ANN401  # a python-pkcs11 object
    """Make an HMAC-SHA-256 key that cannot leave the token; the rules of `generate_pair`."""
    template = {**_PROTECTED, Attribute.SIGN: True, Attribute.VERIFY: True, **_no(Attribute.ENCRYPT, Attribute.DECRYPT)}
    try:
        key = session.generate_key(
            KeyType.GENERIC_SECRET,
            256,
            id=key_id,
            label=label,
            store=True,
            capabilities=MechanismFlag(0),
            mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
            template={**template, **_no(Attribute.WRAP, Attribute.UNWRAP, Attribute.DERIVE)},
        )
        read = key.get_attributes(
            [Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.NEVER_EXTRACTABLE, Attribute.LOCAL]
        )
        check_protection(
            sensitive=read.get(Attribute.SENSITIVE, False),
            extractable=read.get(Attribute.EXTRACTABLE, True),
            never_extractable=read.get(Attribute.NEVER_EXTRACTABLE, False),
            local=read.get(Attribute.LOCAL, False),
        )
    except BaseException:
        _destroy_quietly(session, key_id, ObjectClass.SECRET_KEY)
        raise
    return key


def check_protection(*, sensitive: bool, extractable: bool, never_extractable: bool, local: bool) -> None:
    """Refuse a key that could have left the token, or can, or was not made in it. Raises KeyRefused."""
    wrong = []
    if not sensitive:
        wrong.append("not sensitive")
    if extractable or not never_extractable:
        wrong.append("extractable")
    if not local:
        wrong.append("not made in the token")
    if wrong:
        raise KeyRefused(f"the token made a key that is {' and '.join(wrong)}: it does not protect keys")


def _check_mechanisms(session: p11.Session, algorithm: KeyAlgorithm, usage: KeyUsage) -> None:
    """Refuse what the token could not do with the key: some make it all the same."""
    mechanisms = session.token.slot.get_mechanisms()
    if _GENERATION[algorithm] not in mechanisms:
        raise NotSupported(
            f"{algorithm} keys are not made by this module: make one by other means, and have the phone adopt it"
        )
    if usage is KeyUsage.SIGN and algorithm in CURVES and Mechanism.ECDSA not in mechanisms:
        raise NotSupported("this token does not sign digests (no CKM_ECDSA; the mechanisms that hash are not enough)")
    if algorithm in EDWARDS_CURVES and Mechanism.EDDSA not in mechanisms:
        raise NotSupported("this token does not sign with keys on Edwards curves (no CKM_EDDSA)")
    if usage is KeyUsage.DERIVE and Mechanism.ECDH1_DERIVE not in mechanisms:
        raise NotSupported("this token cannot agree on keys (no CKM_ECDH1_DERIVE)")


def _generate(
    session: p11.Session, algorithm: KeyAlgorithm, usage: KeyUsage, key_id: bytes, label: str
) -> tuple[Any, Any]:
    private_use, public_use = _USAGES[algorithm, usage]
    # Every use is named, allowed or not: tokens differ in what they assume of a use that is not.
    private: dict[Attribute, Any] = {
        **_PROTECTED,
        **_no(Attribute.SIGN, Attribute.DERIVE, Attribute.DECRYPT, Attribute.UNWRAP),
        private_use: True,
    }
    public: dict[Attribute, Any] = {
        Attribute.PRIVATE: False,
        **_no(Attribute.VERIFY, Attribute.DERIVE, Attribute.ENCRYPT, Attribute.WRAP),
        public_use: True,
    }
    if kind_of(session.token) == "tpm":  # tpm2-pkcs11 makes keys for both uses, and fails where it is asked for one
        private |= {Attribute.SIGN: True, Attribute.DECRYPT: True}
        public |= {Attribute.VERIFY: True, Attribute.ENCRYPT: True}
    common: dict[str, Any] = {"id": key_id, "label": label, "store": True, "capabilities": MechanismFlag(0)}
    templates: dict[str, Any] = {"public_template": public, "private_template": private}
    if algorithm is KeyAlgorithm.RSA2048:
        pair: tuple[Any, Any] = session.generate_keypair(KeyType.RSA, 2048, **common, **templates)
        return pair
    edwards = EDWARDS_CURVES.get(algorithm)
    params = CURVES[algorithm].params if edwards is None else edwards.params
    key_type = KeyType.EC if edwards is None else KeyType.EC_EDWARDS
    domain = session.create_domain_parameters(key_type, {Attribute.EC_PARAMS: params}, local=True)
    return domain.generate_keypair(mechanism=_GENERATION[algorithm], **common, **templates)


def _no(*uses: Attribute) -> dict[Attribute, Any]:
    return dict.fromkeys(uses, False)


def _destroy_quietly(session: p11.Session, key_id: bytes, *classes: ObjectClass) -> None:
    """Remove a half-made key; the failure that led here is what the caller has to see."""
    try:
        for object_class in classes:
            for found in search(session, object_class, key_id):
                found.destroy()
    except p11.PKCS11Error:
        pass
