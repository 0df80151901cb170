"""Tokens: finding the one a URI means, and the one logged-in session this process has with it."""

import contextlib
import hmac
import os
from collections.abc import Callable
from typing import TypeVar

import pkcs11 as p11
from pkcs11 import Attribute, ObjectClass, TokenFlag
from pkcs11.types import PROTECTED_AUTH

from fidoloop.hsm.errors import (
    KeyStoreError,
    ModuleError,
    NotSupported,
    PinIncorrect,
    PinLocked,
    PinRequired,
    TokenAbsent,
    TokenAmbiguous,
    TokenNotInitialised,
)
from fidoloop.hsm.pkcs11.errors import STALE, WRONG_PIN, translate, tries_left
from fidoloop.hsm.pkcs11.kinds import kind_of
from fidoloop.hsm.pkcs11.module import Module
from fidoloop.hsm.uri import Pkcs11Uri

T = TypeVar("T")
# Its connection to whoever has the keys is lost, or (TPM) everything loaded has to go.
_START_ANEW = (p11.DeviceError, p11.GeneralError)
_Identity = tuple[int, bytes, str]


class Token:
    """A token in use by this process: one session, shared by all stores opened on it, because PKCS#11's login
    state is one per process and token anyway. Every method is called while holding `module.lock`.
    """

    _all: dict[tuple[str, _Identity], "Token"] = {}  # noqa: RUF012  # guarded by each module's lock

    def __init__(self, module: Module, found: p11.Token) -> None:
        """Remember which token was found; nothing is opened yet."""
        self.module = module
        self.identity: _Identity = (found.slot.slot_id, found.serial, found.label)
        self.kind = kind_of(found)
        self.stale: tuple[type[p11.PKCS11Error], ...] = STALE
        """What tells that sessions or handles are out of date, or used up, and that `renew` may help."""
        if self.kind == "tpm":  # tpm2-pkcs11 says so when the TPM has no room for one more loaded key
            self.stale = (*STALE, p11.GeneralError)
            module.survives_fork = False
        self.epoch = 0
        """Changes whenever all handles of the token have become void."""
        self.users = 0
        self.pin_pad = has_pin_pad(found)
        """Whether the PIN is typed on the device: it gets none from here."""
        self._pin: str | None = None
        self._pin_refused = False
        self._session: p11.Session | None = None
        module.dependants.append(self._forget)

    def session(self) -> p11.Session:
        """Return a session that works, opening and logging in when needed."""
        if self._session is not None:
            try:
                self._session.generate_random(64)
            except STALE as error:
                self.renew(error)
            except p11.PKCS11Error:
                pass  # no random numbers in this token, but the session is there
        if self._session is None:
            self._session = self._open_again()
        return self._session

    def pin_for_use(self) -> str:
        """Return the PIN for a key that wants it before every use. Raises NotSupported, PinIncorrect."""
        pin = self.remembered_pin()
        if pin is None:
            raise NotSupported("the key wants the PIN typed on the device before every use, which is not supported")
        return pin

    def refuse_pin(self) -> None:
        """Take note that the token refused the remembered PIN: it is not sent again."""
        self._pin_refused = True

    def remembered_pin(self) -> str | None:
        """Return the PIN that opened the token. Raises PinIncorrect where the token refused it since then."""
        if self._pin_refused:
            raise PinIncorrect(
                "the PIN is not the one this key store was opened with any more; "
                "it is not sent again, lest it lock the token: open the store with the new one"
            )
        return self._pin

    def reopen(self) -> None:
        """Close the session; the next use opens, logs in and finds again."""
        session, self._session = self._session, None
        self.epoch += 1
        if session is not None:
            try:
                session.close()
            except p11.PKCS11Error:  # it was broken: that is why it is reopened
                self.module.session_leaked()

    def renew(self, error: p11.PKCS11Error) -> None:
        """Do what may help after a `stale` error: begin a new session, or start the module anew."""
        if isinstance(error, _START_ANEW):
            self.module.reinitialise()
        else:
            self.reopen()

    def login(self, pin: str | None) -> None:
        """Open the token with this PIN, or check the PIN if it is open already."""
        known = self._pin
        if self._session is None:
            self._session = self._open(pin)
            self._remember(pin)
        elif pin is not None and (known is None or not hmac.compare_digest(pin.encode(), known.encode())):
            self.verify_pin(pin)

    def verify_pin(self, pin: str) -> None:
        """Log out and in again with `pin`; if it is wrong, log in again as before."""
        self.reopen()
        try:
            self._session = self._open(pin)
        except KeyStoreError:
            with contextlib.suppress(KeyStoreError):  # locked just now: the next use says so
                self._session = self._open_again()
            raise
        self._remember(pin)

    def logged_in(self, session: p11.Session) -> bool:
        """Tell whether private objects can be seen, so that "not found" may be believed."""
        if self._pin is None and not self.pin_pad:
            return True
        probe = {
            Attribute.CLASS: ObjectClass.DATA,
            Attribute.TOKEN: False,
            Attribute.PRIVATE: True,
            Attribute.VALUE: b"?",
        }
        try:
            session.create_object(probe).destroy()
        except p11.UserNotLoggedIn:
            return False
        except p11.PKCS11Error:
            return True  # this token has no such objects and cannot tell
        return True

    def _find_again(self) -> p11.Token:
        """Look for this very token: serial number and label, in its slot if there are several. Raises TokenAbsent.

        Slots alone say little: p11-kit numbers them anew for every connection.
        """
        slot, *same = self.identity
        found = _search_slots(self.module, lambda token: [token.serial, token.label] == same)
        if len(found) > 1:
            found = [token for token in found if token.slot.slot_id == slot]
        if not found:
            raise TokenAbsent(f"the token {self.identity[2]!r} is not there any more")
        return found[0]

    def release(self) -> None:
        """Give up one use; the last one closes the session and logs out."""
        self.users -= 1
        if self.users == 0:
            self.reopen()
            self.module.dependants.remove(self._forget)
            self._all.pop((self.module.path, self.identity), None)

    def _forget(self) -> None:
        self._session = None
        self.epoch += 1

    def _open_again(self) -> p11.Session:
        try:
            return self._open(self.remembered_pin(), proven=True)
        except PinIncorrect:
            self.refuse_pin()
            raise

    def _remember(self, pin: str | None) -> None:
        self._pin, self._pin_refused = None if self.pin_pad else pin, False

    def _open(self, pin: str | None, *, proven: bool = False) -> p11.Session:
        user_pin: object = PROTECTED_AUTH if self.pin_pad else pin
        try:
            return self._open_once(user_pin)
        except (p11.UserAlreadyLoggedIn, p11.SessionCount):
            # Somebody else in this process logged in, which says nothing about *this* PIN, or left sessions open:
            # start from scratch.
            self.module.reinitialise()
        except p11.PKCS11Error as error:
            raise translate(error, "logging in") from error
        try:
            try:
                return self._open_once(user_pin)
            except p11.UserAlreadyLoggedIn:
                # After a fork p11-kit cannot log out of a module behind it. The PIN was right before: go on.
                if not proven:
                    raise
                return self._open_once(None)
        except p11.PKCS11Error as error:
            raise translate(error, "logging in") from error

    def _open_once(self, user_pin: object) -> p11.Session:
        found = self._find_again()
        try:
            try:
                return found.open(rw=True, user_pin=user_pin)
            except (p11.TokenWriteProtected, p11.SessionReadOnly):
                return found.open(rw=False, user_pin=user_pin)
        except WRONG_PIN as error:
            flags = found.slot.get_token().flags
            self.module.session_leaked()
            left = tries_left(flags)
            if left == 0:
                raise PinLocked("the PIN is locked after too many wrong tries") from error
            raise PinIncorrect(tries_left=left) from error
        except p11.PinLocked:
            self.module.session_leaked()
            raise


class Lease:
    """A store's use of a token; ends with the store."""

    def __init__(self, token: Token) -> None:
        """Count a user of the token."""
        self.token = token
        self.open = True
        token.users += 1

    def run(self, doing: str, operation: Callable[[p11.Session], T]) -> T:
        """Run `operation` on the session under the module's lock; once more on a new session if that was stale."""
        with self.token.module.lock:
            self.check()
            try:
                try:
                    return operation(self.token.session())
                except self.token.stale as error:
                    self.token.renew(error)
                    return operation(self.token.session())
            except p11.PKCS11Error as error:
                raise translate(error, doing) from error

    def check(self) -> None:
        """Raise ModuleError when the store was closed."""
        if not self.open:
            raise ModuleError("this key store was closed")

    def close(self) -> None:
        """End the use; more than once does no harm."""
        with self.token.module.lock:
            if self.open:
                self.open = False
                self.token.release()


def lease_token(module: Module, uri: Pkcs11Uri, pin: Callable[[str], str | None]) -> Lease:
    """Find the token a URI means, log in, and count the use.

    Args:
        module: the loaded module.
        uri: names the token.
        pin: called with the token's label, only if the token wants a PIN from here, and not under the module's lock.

    Raises:
        TokenAbsent, TokenAmbiguous, TokenNotInitialised, PinRequired, PinIncorrect, PinLocked, ModuleError.
    """
    with module.lock:
        try:
            found = find_token(module, uri)
            wants_pin = bool(found.flags & TokenFlag.LOGIN_REQUIRED)
            if not found.flags & TokenFlag.USER_PIN_INITIALIZED and wants_pin:
                raise TokenNotInitialised(f"the token {found.label!r} has no user PIN yet")
        except p11.PKCS11Error as error:
            raise translate(error, "looking for the token") from error
    wants_pin = wants_pin and not has_pin_pad(found)
    given = pin(found.label) if wants_pin else None
    if wants_pin and given is None:
        raise PinRequired(f"the token {found.label!r} wants a PIN: give pin-source in the URI, or the PIN when asked")
    with module.lock:
        key = (module.path, (found.slot.slot_id, found.serial, found.label))
        token = Token._all.get(key)
        if token is None:
            token = Token._all[key] = Token(module, found)
        lease = Lease(token)
        try:
            token.login(given)
        except BaseException:
            lease.close()
            raise
        return lease


def _where_softhsm_looks(module: Module) -> str:
    if "softhsm" not in os.path.basename(module.path):
        return ""
    return f" (SOFTHSM2_CONF, where SoftHSM looks, is {os.environ.get('SOFTHSM2_CONF') or 'not set'})"


def find_token(module: Module, uri: Pkcs11Uri) -> p11.Token:
    """Return the one token that matches. Raises TokenAbsent, TokenAmbiguous, TokenNotInitialised."""

    def matches(token: p11.Token) -> bool:
        compared = (
            (uri.token, token.label),
            (uri.serial, token.serial.decode(errors="replace").rstrip("\0 ")),
            (uri.manufacturer, token.manufacturer_id),
            (uri.model, token.model),
            (uri.slot_id, token.slot.slot_id),
        )
        return all(wanted is None or wanted == is_ for wanted, is_ in compared)

    matching = _search_slots(module, matches)
    ready = [token for token in matching if token.flags & TokenFlag.TOKEN_INITIALIZED]
    if matching and not ready:
        raise TokenNotInitialised(f"the token ({uri.describe_token()}) was never initialised")
    if not ready:
        raise TokenAbsent(f"no token matches: {uri.describe_token()}{_where_softhsm_looks(module)}")
    if len(ready) > 1:
        serials = ", ".join(f"serial={token.serial.decode(errors='replace')}" for token in ready)
        raise TokenAmbiguous(f"{len(ready)} tokens match {uri.describe_token()}: add one of {serials}")
    return ready[0]


def has_pin_pad(token: p11.Token) -> bool:
    """Tell whether the user types the PIN on the device (PKCS#11 2.40, 4.4, CKF_PROTECTED_AUTHENTICATION_PATH)."""
    return bool(token.flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH and token.flags & TokenFlag.LOGIN_REQUIRED)


def _search_slots(module: Module, matches: Callable[[p11.Token], bool]) -> list[p11.Token]:
    """Return the tokens that match. If none does, the module is initialised anew, once: it may not have seen
    tokens come and go. A slot that fails hides no token in another one; it is an error only if nothing is found.
    """
    found, _ = _read_slots(module, matches)
    if found:
        return found
    module.reinitialise()
    found, failure = _read_slots(module, matches)
    if not found and failure is not None:
        raise failure
    return found


def _read_slots(module: Module, matches: Callable[[p11.Token], bool]) -> tuple[list[p11.Token], p11.PKCS11Error | None]:
    found, failure = [], None
    try:
        slots = module.library().get_slots(token_present=True)
    except p11.PKCS11Error as error:
        return [], error
    for slot in slots:
        try:
            token = slot.get_token()
        except (p11.TokenNotPresent, p11.TokenNotRecognised):
            continue
        except p11.PKCS11Error as error:
            failure = error
            continue
        if matches(token):
            found.append(token)
    return found, failure
