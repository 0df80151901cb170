"""From a command's bytes to what it asks: which elements it has, in which order, how long (digest section 7).

An element that is critical and has no place in the command, stands too late, twice or too long makes the command's
parameters invalid; one that is not critical, or an extension that may be ignored, is passed over.
"""

from typing import Final, NamedTuple

import msgspec

from fidoloop.authenticator.commands.registry import Command, CommandTag
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.authenticator.uaf_authenticator import MAX_APP_ID_BYTES, MAX_USERNAME_BYTES
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.registry import Tag
from fidoloop.protocol.uaf.tlv import is_critical, spans, tag_name

MAX_COMMAND_BYTES: Final = 32768
MAX_KEY_HANDLES: Final = 64
MAX_KEY_HANDLE_BYTES: Final = 256
_MAX_CONTENT_BYTES = 16384
_MIN_HASH_BYTES, _MAX_HASH_BYTES = 32, 64


class Field(NamedTuple):
    """An element: its tag, how many bytes its value has, how many such elements there are at least and at most."""

    tag: int
    least: int
    most: int
    required: bool = True
    times: int = 1


_INDEX = Field(CommandTag.AUTHENTICATOR_INDEX, 1, 1)
_APP_ID = Field(CommandTag.APPID, 1, MAX_APP_ID_BYTES)
# A hash by the algorithm of the authenticator, who holds it against that.
_CHALLENGE_HASH = Field(Tag.FINAL_CHALLENGE_HASH, _MIN_HASH_BYTES, _MAX_HASH_BYTES)
_ACCESS_TOKEN = Field(CommandTag.KEYHANDLE_ACCESS_TOKEN, 1, 32)
_USER_VERIFY_TOKEN = Field(CommandTag.USERVERIFY_TOKEN, 1, 64, required=False)

# The order is the one the ASM must keep. Our authenticators show the AppID, so APPID is required (6.2.2, 6.2.3).
LAYOUTS: Final[dict[Command, tuple[Field, ...]]] = {
    Command.GET_INFO: (),
    Command.REGISTER: (
        _INDEX,
        _APP_ID,
        _CHALLENGE_HASH,
        Field(CommandTag.USERNAME, 1, MAX_USERNAME_BYTES),
        Field(CommandTag.ATTESTATION_TYPE, 2, 2),
        _ACCESS_TOKEN,
        _USER_VERIFY_TOKEN,
    ),
    Command.SIGN: (
        _INDEX,
        _APP_ID,
        _CHALLENGE_HASH,
        Field(CommandTag.TRANSACTION_CONTENT, 1, _MAX_CONTENT_BYTES, required=False),
        Field(Tag.TRANSACTION_CONTENT_HASH, 0, _MAX_HASH_BYTES, required=False),
        _ACCESS_TOKEN,
        _USER_VERIFY_TOKEN,
        Field(CommandTag.KEYHANDLE, 1, MAX_KEY_HANDLE_BYTES, required=False, times=MAX_KEY_HANDLES),
    ),
    Command.DEREGISTER: (
        _INDEX,
        _APP_ID._replace(required=False),
        Field(Tag.KEYID, 0, 2048),
        _ACCESS_TOKEN,
    ),
    Command.OPEN_SETTINGS: (_INDEX,),
}


class Parameters(msgspec.Struct, frozen=True):
    """What a command says: the values of each of its elements, by tag."""

    command: Command
    values: dict[int, tuple[bytes, ...]]

    def bytes_of(self, tag: int) -> bytes | None:
        """Return the value of an element that stands once at most."""
        found = self.values.get(tag)
        return found[0] if found else None

    def required(self, tag: int) -> bytes:
        """Return the value of an element that every such command has."""
        return self.values[tag][0]

    def text(self, tag: int) -> str:
        """Return the value of a required element as text. Raises AuthenticatorError where it is not UTF-8."""
        try:
            return self.required(tag).decode("utf-8")
        except UnicodeDecodeError:
            raise _invalid(f"{_name(tag)} is not UTF-8") from None

    def number(self, tag: int) -> int:
        """Return the value of a required element as a number (little-endian)."""
        return int.from_bytes(self.required(tag), "little")


def read_command(data: bytes) -> Parameters:
    """Parse a whole command.

    Raises:
        AuthenticatorError: PARAMS_INVALID, or CMD_NOT_SUPPORTED for a command there is none of.
    """
    if len(data) > MAX_COMMAND_BYTES:
        raise _invalid(f"{len(data)} bytes, at most {MAX_COMMAND_BYTES} allowed")
    try:
        outer = spans(data, 0, len(data), "$")
        if len(outer) != 1:
            raise _invalid("not one command")
        tag, _, start, end = outer[0]
        command = Command(tag) if tag in Command.__members__.values() else None
        if command is None:
            raise AuthenticatorError(CommandStatus.CMD_NOT_SUPPORTED, f"no command 0x{tag:04X}")
        values = _in_order(data, spans(data, start, end, f"$/0x{tag:04X}"), LAYOUTS[command])
    except MalformedError as error:
        raise _invalid(str(error)) from None
    for field in LAYOUTS[command]:
        if field.required and field.tag not in values:
            raise _invalid(f"{_name(field.tag)} is missing")
    return Parameters(command, {tag: tuple(found) for tag, found in values.items()})


def _in_order(
    data: bytes, elements: list[tuple[int, int, int, int]], layout: tuple[Field, ...]
) -> dict[int, list[bytes]]:
    places = {int(field.tag): place for place, field in enumerate(layout)}
    values: dict[int, list[bytes]] = {}
    last = 0
    for tag, _, start, end in elements:
        place = places.get(tag)
        if place is None:
            if is_critical(tag) and tag != Tag.EXTENSION_NON_CRITICAL:
                raise _invalid(f"{_name(tag)} has no place in this command")
            continue
        field = layout[place]
        if place < last:
            raise _invalid(f"{_name(tag)} stands too late")
        if not field.least <= end - start <= field.most:
            raise _invalid(f"{_name(tag)} of {end - start} bytes, {field.least} to {field.most} allowed")
        found = values.setdefault(tag, [])
        if len(found) == field.times:
            raise _invalid(f"{_name(tag)} more than {field.times} times")
        found.append(data[start:end])
        last = place
    return values


def _name(tag: int) -> str:
    return CommandTag(tag).name if tag in CommandTag.__members__.values() else tag_name(tag)


def _invalid(detail: str) -> AuthenticatorError:
    return AuthenticatorError(CommandStatus.PARAMS_INVALID, detail)
