"""Hardware keys for joserfc."""

from joserfc.jwk import ECKey, RSAKey

from fidoloop.hsm.keystore import EcHardwareKey, HardwareKey


def jose_key(key: HardwareKey) -> ECKey | RSAKey:
    """Wrap a hardware key for joserfc: JWS signing, JWE decryption.

    joserfc writes a key's own members down as soon as it looks for `kid`, `alg` or `use`, and would ask a bare private
    key for its private numbers. Given the public members beside the key it never does.
    """
    if isinstance(key, EcHardwareKey):
        return ECKey(key, {**ECKey.binding.export_public_key(key.public_key())})
    return RSAKey(key, RSAKey.binding.export_public_key(key.public_key()))
