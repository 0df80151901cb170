"""What is said of an operation beside its route and the types of its messages."""

from dataclasses import dataclass
from typing import Any

from fidoloop.server.http.messages import JSON

OPEN, CREDENTIAL, MAYBE, DEVICE_HEADER, DEVICE_BODY = "open", "credential", "maybe", "device header", "device body"
"""Who may call: everybody, holders of an API credential, those if the user is named, a device by what it signs."""
BROWSER, LOGGED_IN, REMEMBERED, LAB = "browser", "logged in", "remembered", "lab"
"""A browser by its pre-login cookie, by its log-in cookie, by the cookie it is remembered by, by that of the lab."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """One operation.

    `request` and `answer` are message types; `media` is the answer's where no message is produced. `problems` and
    `empty` are further statuses, with a problem document and with nothing; where there is `refused`, the service may
    say it instead of a problem document. `names` says whose id ends the path. `form` are the parameters of a form
    (name, what it is, whether it must be there), `errors` statuses of OAuth errors,
    whose message is `error` where it says more than usual. `pages` are further statuses with a page for a person.
    """

    group: str
    summary: str
    description: str = ""
    request: Any = None
    answer: Any = None
    refused: Any = None
    media: str = JSON
    status: int = 200
    who: str = OPEN
    problems: tuple[tuple[int, str], ...] = ()
    empty: tuple[tuple[int, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    names: str = "the dispatch target's"
    form: tuple[tuple[str, str, bool], ...] = ()
    errors: tuple[tuple[int, str], ...] = ()
    error: Any = None
    pages: tuple[tuple[int, str], ...] = ()
