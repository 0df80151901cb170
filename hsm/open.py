"""Opening a key store by its URI."""

from collections.abc import Callable

from fidoloop.hsm.errors import UriError
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.pkcs11.store import Pkcs11KeyStore
from fidoloop.hsm.uri import parse_uri


def open_key_store(uri: str, *, pin: str | None = None, pin_prompt: Callable[[str], str] | None = None) -> KeyStore:
    """Open the key store a URI names.

    The PIN comes from `pin`, else from the URI (pin-value, pin-source), else from `pin_prompt`, which is called
    with the token's label, and only if the token wants a PIN.

    Args:
        uri: `pkcs11:...?module-path=...` (RFC 7512).
        pin: the user's PIN.
        pin_prompt: asks the user for the PIN.

    Raises:
        UriError, TokenAmbiguous, ModuleError, TokenAbsent, TokenNotInitialised, PinRequired, PinIncorrect, PinLocked.
    """
    if not uri.startswith("pkcs11:"):
        raise UriError("a key-store URI begins with 'pkcs11:'")
    parsed = parse_uri(uri)

    def ask(label: str) -> str | None:
        if pin is not None:
            return pin
        found = parsed.pin()
        return pin_prompt(label) if found is None and pin_prompt is not None else found

    return Pkcs11KeyStore(parsed, ask)
