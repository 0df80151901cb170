"""Opening a key store by its URI, whatever kind of device it names."""

from collections.abc import Callable

from fidoloop.hsm.errors import NotSupported, UriError
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.piv.uri import SCHEME as PIV
from fidoloop.hsm.piv.uri import PivUri, parse_piv_uri
from fidoloop.hsm.uri import Pkcs11Uri, parse_uri
from fidoloop.hsm.uri_syntax import REDACTED

KeyStoreUri = Pkcs11Uri | PivUri


def parse_key_store_uri(uri: str) -> KeyStoreUri:
    """Parse the URI of a key store of any kind. Raises UriError, whose message never holds a PIN."""
    if uri.startswith(PIV):
        return parse_piv_uri(uri)
    if uri.startswith("pkcs11:"):
        return parse_uri(uri)
    raise UriError(f"a key-store URI begins with 'pkcs11:' or {PIV!r}")


def open_key_store(uri: str, *, pin: str | None = None, pin_prompt: Callable[[str], str] | None = None) -> KeyStore:
    """Open the key store a URI names.

    The PIN comes from `pin`, else from the URI (pin-value, pin-source), else from `pin_prompt`, which is called
    with the token's label, and only if the token wants a PIN.

    Args:
        uri: `pkcs11:...?module-path=...` (RFC 7512), or `piv:reader=...`.
        pin: the user's PIN.
        pin_prompt: asks the user for the PIN.

    Raises:
        UriError, TokenAmbiguous, ModuleError, TokenAbsent, TokenNotInitialised, PinRequired, PinIncorrect, PinLocked,
        DeviceTimeout.
    """
    parsed = parse_key_store_uri(uri)

    def ask(label: str) -> str | None:
        if pin is not None:
            return pin
        found = parsed.pin()
        return pin_prompt(label) if found is None and pin_prompt is not None else found

    # Either kind's library is loaded only where it is used.
    if isinstance(parsed, PivUri):
        from fidoloop.hsm.piv.store import PivKeyStore

        return PivKeyStore(parsed, ask)
    from fidoloop.hsm.pkcs11.store import Pkcs11KeyStore

    return Pkcs11KeyStore(parsed, ask)


def uri_of(store: KeyStore) -> str:
    """Return the URI of an open key store without its secrets: as it is kept, to be opened with a PIN again."""
    path, _, query = store.uri.partition("?")
    kept = [attribute for attribute in query.split("&") if attribute and not attribute.endswith(f"={REDACTED}")]
    return parse_key_store_uri("?".join((path, "&".join(kept))) if kept else path).without_pin()


def change_pin(uri: str, old: str, new: str) -> None:
    """Change the PIN of a card; the old one is sent once.

    Raises:
        NotSupported: the URI names no PIV card; PinIncorrect, PinLocked: of the old PIN, or a new one it does not take.
    """
    from fidoloop.hsm.piv.pin import change_pin as change

    change(_card_uri(uri), old, new)


def unblock_pin(uri: str, puk: str, new: str) -> None:
    """Set a new PIN of a card with its PUK, which is sent once; it works where the PIN is locked.

    Raises:
        NotSupported: the URI names no PIV card; PinIncorrect, PinLocked: of the PUK, or a new PIN it does not take.
    """
    from fidoloop.hsm.piv.pin import unblock_pin as unblock

    unblock(_card_uri(uri), puk, new)


def _card_uri(uri: str) -> PivUri:
    parsed = parse_key_store_uri(uri)
    if not isinstance(parsed, PivUri):
        raise NotSupported("this is for PIV cards: a PKCS#11 token's PIN is changed with its own tools")
    return parsed
