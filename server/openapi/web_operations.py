"""The pages for browsers and the services that they call, described."""

from typing import Any

from fidoloop.server.openapi.described import BROWSER, LOGGED_IN, OPEN, REMEMBERED, Described
from fidoloop.server.web.account import Account, NamedKey
from fidoloop.server.web.confirmation import BeginConfirmation
from fidoloop.server.web.devices import KnownUsers
from fidoloop.server.web.enrolment import BeginEnrolment, EnrolmentBegun
from fidoloop.server.web.layout import STATIC
from fidoloop.server.web.log_in import BeginLogIn, Begun, FinishLogIn, LoggedIn
from fidoloop.server.web.passkeys import (
    BeginPasskeyLogIn,
    FinishPasskeyLogIn,
    NamedPasskey,
    PasskeyList,
    PasskeyOptions,
)
from fidoloop.server.web.state import OperationState
from fidoloop.server.web.watching import NamedOperation

_GROUP = "Pages"
_FOREIGN = "Origin is not this server's"
_OFF = "the pages are turned off"
_NOT_LOGGED_IN = (401, "this browser is not logged in")
_TOO_OFTEN = (429, "a push to this user is open, or there were five in ten minutes")
_NO_CODE = (503, "the dispatcher `link` is not configured")


def web() -> dict[tuple[str, str], Described]:
    """Return the operations by method and path."""
    return _shown() | _log_in() | _operations() | _account() | _passkeys() | _enrolment_and_confirmation()


def _posted(
    summary: str,
    request: Any,  # noqa: ANN401 - a message's type
    answer: Any = None,  # noqa: ANN401
    *,
    words: str = "",
    who: str = OPEN,
    problems: tuple[tuple[int, str], ...] = (),
) -> Described:
    """Return a service that takes POSTs of this server's own pages."""
    found = dict(problems)
    for status, what in ((403, _FOREIGN), (404, _OFF)):
        found[status] = f"{what}, or {found[status]}" if status in found else what
    return Described(
        group=_GROUP,
        summary=summary,
        description=words,
        request=request,
        answer=answer,
        status=204 if answer is None else 200,
        who=who,
        problems=tuple(found.items()),
    )


def _shown() -> dict[tuple[str, str], Described]:
    home, account = (303, "to `/`: the browser is not logged in"), (303, "to `/account`: the browser is logged in")
    pages: dict[str, tuple[str, tuple[tuple[int, str], ...]]] = {
        "/": ("The log-in page", (account,)),
        "/account": ("The page of who is logged in", (home,)),
        "/confirm": ("The page to confirm a payment", (home,)),
        "/enrol": ("The page to enrol a phone", ()),
    }
    found = {
        ("GET", path): Described(
            group=_GROUP, summary=summary, answer=str, media="text/html", empty=empty, problems=((404, _OFF),)
        )
        for path, (summary, empty) in pages.items()
    }
    found["GET", STATIC] = Described(
        group=_GROUP,
        summary="What the pages load",
        answer=str,
        media="text/css",
        names="the file's",
        problems=((404, f"{_OFF}, or there is no such file"),),
    )
    return found


def _log_in() -> dict[tuple[str, str], Described]:
    return {
        ("POST", "/web/login"): _posted(
            "Begin a log-in in a browser",
            BeginLogIn,
            Begun,
            words="Sets the pre-login cookie, which alone can watch and finish it. By QR code whoever answers is"
            " logged in; by push the user named, the answer being the same whoever that is. A remembered browser may"
            " name a device instead: then the code is for that device only, and a push comes with one.",
            problems=((404, "the browser knows no such device"), _TOO_OFTEN, _NO_CODE),
        ),
        ("POST", "/web/login/finish"): _posted(
            "Exchange a log-in that succeeded for a log-in cookie",
            FinishLogIn,
            LoggedIn,
            words="Once, by the browser that began it.",
            who=BROWSER,
            problems=((403, "there is nothing of this browser's to exchange"),),
        ),
        ("GET", "/web/devices"): Described(
            group=_GROUP,
            summary="The devices of a browser's users",
            description="Of users who had the browser remembered; none, where it is not.",
            answer=KnownUsers,
            who=REMEMBERED,
            problems=((404, _OFF),),
        ),
        ("POST", "/web/devices/forget"): _posted("Forget a browser", dict, who=REMEMBERED),
    }


def _operations() -> dict[tuple[str, str], Described]:
    stream = _posted(
        "What a page began, as it goes on",
        NamedOperation,
        str,
        words="Server-sent events `status`, each with an OperationState; the last one is final, unless the server"
        " stops.",
        who=BROWSER,
    )
    return {
        ("POST", "/web/operation/status"): _posted(
            "How far what a page began is",
            NamedOperation,
            OperationState,
            words="One that is not this browser's is `gone`, as one that never was.",
            who=BROWSER,
        ),
        ("POST", "/web/operation/stream"): stream,
        ("POST", "/web/operation/cancel"): _posted("Cancel what a page began", NamedOperation, who=BROWSER),
    }


def _account() -> dict[tuple[str, str], Described]:
    return {
        ("GET", "/web/account"): Described(
            group=_GROUP,
            summary="Who is logged in, by which key",
            answer=Account,
            who=LOGGED_IN,
            problems=(_NOT_LOGGED_IN, (404, _OFF)),
        ),
        ("POST", "/web/keys/remove"): _posted(
            "Delete a key of the user who is logged in",
            NamedKey,
            words="Where it did this log-in, that is over too.",
            who=LOGGED_IN,
            problems=(_NOT_LOGGED_IN, (404, "the user has no such key")),
        ),
        ("POST", "/web/logout"): _posted("Log a browser out", dict, who=LOGGED_IN),
    }


def _passkeys() -> dict[tuple[str, str], Described]:
    return {
        ("POST", "/web/passkey/options"): _posted(
            "Options for a log-in by passkey in a browser",
            BeginPasskeyLogIn,
            PasskeyOptions,
            words="Sets the pre-login cookie, which alone can finish it. A user who is named gets the same kind of"
            " answer whoever that is; without one whoever a passkey is of is logged in.",
            problems=((429, "too many authentications were begun from one address"),),
        ),
        ("POST", "/web/passkey"): _posted(
            "Log a browser in by passkey",
            FinishPasskeyLogIn,
            LoggedIn,
            words="Sets the log-in cookie.",
            who=BROWSER,
            problems=((403, "the passkey is refused"),),
        ),
        ("GET", "/web/passkeys"): Described(
            group=_GROUP,
            summary="The passkeys of the user who is logged in",
            answer=PasskeyList,
            who=LOGGED_IN,
            problems=(_NOT_LOGGED_IN, (404, _OFF)),
        ),
        ("POST", "/web/passkey/remove"): _posted(
            "Delete a passkey of the user who is logged in",
            NamedPasskey,
            words="Where it did this log-in, that is over too.",
            who=LOGGED_IN,
            problems=(_NOT_LOGGED_IN, (404, "the user has no such passkey")),
        ),
    }


def _enrolment_and_confirmation() -> dict[tuple[str, str], Described]:
    return {
        ("POST", "/web/enrol"): _posted(
            "Begin an enrolment in a browser",
            BeginEnrolment,
            EnrolmentBegun,
            words="For whoever holds an enrolment code, or without one for the user who is logged in.",
            problems=(_NOT_LOGGED_IN, (404, "the code is unknown, was used or has expired"), _NO_CODE),
        ),
        ("POST", "/web/enrol/undo"): _posted(
            "Take an enrolment back",
            NamedOperation,
            words="The keys and the dispatch target that came of it, once, by the browser that began it.",
            who=BROWSER,
            problems=((403, "there is nothing of this browser's to take back"),),
        ),
        ("POST", "/web/confirm"): _posted(
            "Have a text confirmed",
            BeginConfirmation,
            Begun,
            words="By the user who is logged in, on a device or by whichever scans the code.",
            who=LOGGED_IN,
            problems=(_NOT_LOGGED_IN, (404, "the user has no such device"), _TOO_OFTEN, _NO_CODE),
        ),
    }
