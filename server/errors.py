"""The server's own errors: what an operator or the store can get wrong. Refusals of clients are not among them."""

from typing import ClassVar


class ServerError(Exception):
    """Base of the family; `code` is stable and goes into --json output."""

    code: ClassVar[str] = "server_error"


class ConfigError(ServerError):
    """The configuration, a policy file or an option cannot be used."""

    code = "config"


class SettingError(ConfigError):
    """A setting whose value cannot work, though it is of its type; `name` is the setting's."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


class NotFoundError(ServerError):
    """An operator named something that is not there."""

    code = "not_found"


class ExistsError(ServerError):
    """An operator made something that is there already."""

    code = "exists"


class StoreError(ServerError):
    """The database cannot be opened or used."""

    code = "store"


class ConflictError(StoreError):
    """A statement broke a uniqueness rule of the database; says nothing of the values."""

    code = "conflict"


class ListenError(ServerError):
    """The address cannot be listened on."""

    code = "listen"
