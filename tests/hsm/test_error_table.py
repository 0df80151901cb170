"""The mapping table, fed with python-pkcs11's exceptions: SoftHSM never locks a PIN, fills up or is pulled out."""

import inspect

import pkcs11 as p11
import pytest
from pkcs11 import exceptions

from fidoloop.hsm.errors import (
    KeyGone,
    KeyStoreError,
    ModuleError,
    NotSupported,
    PinIncorrect,
    PinLocked,
    PinRequired,
    TokenAbsent,
    TokenAmbiguous,
    TokenFull,
    TokenNotInitialised,
    TokenReadOnly,
)
from fidoloop.hsm.pkcs11.errors import ckr_name, translate, tries_left

ALL = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, p11.PKCS11Error)]


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        (p11.PinIncorrect, PinIncorrect),
        (p11.PinLenRange, PinIncorrect),
        (p11.PinLocked, PinLocked),
        (p11.PinExpired, PinLocked),
        (p11.UserPinNotInitialized, TokenNotInitialised),
        (p11.UserNotLoggedIn, PinRequired),
        (p11.TokenNotPresent, TokenAbsent),
        (p11.DeviceRemoved, TokenAbsent),
        (p11.MultipleTokensReturned, TokenAmbiguous),
        (p11.DeviceMemory, TokenFull),
        (p11.TokenWriteProtected, TokenReadOnly),
        (p11.SessionReadOnly, TokenReadOnly),
        (p11.KeyHandleInvalid, KeyGone),
        (p11.ObjectHandleInvalid, KeyGone),
        (p11.MechanismInvalid, NotSupported),
        (p11.FunctionNotSupported, NotSupported),
        (p11.GeneralError, ModuleError),
        (p11.DeviceError, TokenAbsent),
        (p11.SessionHandleInvalid, ModuleError),
    ],
)
def test_each_kind_of_failure_has_its_own_error(kind: type[p11.PKCS11Error], family: type[KeyStoreError]) -> None:
    assert type(translate(kind(), "testing")) is family


@pytest.mark.parametrize("kind", ALL)
def test_every_error_of_the_library_becomes_one_of_ours(kind: type[p11.PKCS11Error]) -> None:
    assert isinstance(translate(kind(), "testing"), KeyStoreError)


def test_an_unknown_error_is_a_fault_of_the_module_and_names_the_ckr() -> None:
    assert "CKR_GENERAL_ERROR while signing" in str(translate(p11.GeneralError(), "signing"))
    assert "strange" in str(translate(p11.PKCS11Error("strange"), "signing"))


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (p11.SessionHandleInvalid(), "CKR_SESSION_HANDLE_INVALID"),
        (p11.PinLenRange(), "CKR_PIN_LEN_RANGE"),
        (p11.PKCS11Error(), "an unnamed return value"),
    ],
)
def test_ckr_names(error: p11.PKCS11Error, name: str) -> None:
    assert ckr_name(error) == name


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (p11.TokenFlag.USER_PIN_LOCKED | p11.TokenFlag.USER_PIN_FINAL_TRY, 0),
        (p11.TokenFlag.USER_PIN_FINAL_TRY, 1),
        (p11.TokenFlag.USER_PIN_COUNT_LOW, None),
        (p11.TokenFlag(0), None),
    ],
)
def test_tries_left_are_read_from_the_tokens_flags(flags: int, left: int | None) -> None:
    assert tries_left(flags) == left


def test_codes_are_stable_and_differ() -> None:
    kinds = [KeyStoreError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    codes = [kind.code for kind in kinds if kind.__module__ == KeyStoreError.__module__]
    assert len(set(codes)) == len(codes) == 20
