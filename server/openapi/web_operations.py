"""The pages for browsers and the services that they call, described."""

from fidoloop.server.openapi.described import BROWSER, LOGGED_IN, REMEMBERED, Described
from fidoloop.server.web.account import Account
from fidoloop.server.web.devices import KnownUsers
from fidoloop.server.web.layout import SCRIPT, STYLE
from fidoloop.server.web.log_in import BeginLogIn, FinishLogIn, LoggedIn, LogInBegun, NamedOperation
from fidoloop.server.web.state import OperationState

_GROUP = "Pages"
_OFF = (404, "the pages are turned off")
_FOREIGN = (403, "Origin is not this server's")


def web() -> dict[tuple[str, str], Described]:
    """Return the operations by method and path."""
    return _shown() | _devices() | _log_in() | _account()


def _shown() -> dict[tuple[str, str], Described]:
    pages = {
        "/": ("The log-in page", "to `/account`: the browser is logged in"),
        "/account": ("The page of who is logged in", "to `/`: the browser is not logged in"),
    }
    found = {
        ("GET", path): Described(
            group=_GROUP,
            summary=summary,
            answer=str,
            media="text/html",
            empty=((303, elsewhere),),
            problems=(_OFF,),
        )
        for path, (summary, elsewhere) in pages.items()
    }
    files = {STYLE: ("How the pages look", "text/css"), SCRIPT: ("The pages' script", "text/javascript")}
    for path, (summary, media) in files.items():
        found["GET", path] = Described(group=_GROUP, summary=summary, answer=str, media=media, problems=(_OFF,))
    return found


def _devices() -> dict[tuple[str, str], Described]:
    return {
        ("GET", "/web/devices"): Described(
            group=_GROUP,
            summary="The devices of a browser's users",
            description="Of users who had the browser remembered; none, where it is not.",
            answer=KnownUsers,
            who=REMEMBERED,
            problems=(_OFF,),
        ),
        ("POST", "/web/devices/forget"): Described(
            group=_GROUP,
            summary="Forget a browser",
            request=dict,
            status=204,
            who=REMEMBERED,
            problems=(_FOREIGN, _OFF),
        ),
    }


def _log_in() -> dict[tuple[str, str], Described]:
    return {
        ("POST", "/web/login"): Described(
            group=_GROUP,
            summary="Begin a log-in in a browser",
            description="Sets the pre-login cookie, which alone can watch and finish it. By QR code whoever answers is"
            " logged in; by push the user named, the answer being the same whoever that is. A remembered browser may"
            " name a device instead: then the code is for that device only, and a push comes with one.",
            request=BeginLogIn,
            answer=LogInBegun,
            problems=(
                _FOREIGN,
                (404, "the pages are turned off, or the browser knows no such device"),
                (429, "a push to this user is open, or there were five in ten minutes"),
                (503, "the dispatcher `link` is not configured"),
            ),
        ),
        ("POST", "/web/login/status"): Described(
            group=_GROUP,
            summary="How far a log-in in a browser is",
            description="One that is not this browser's is `gone`, as one that never was.",
            request=NamedOperation,
            answer=OperationState,
            who=BROWSER,
            problems=(_FOREIGN, _OFF),
        ),
        ("POST", "/web/login/stream"): Described(
            group=_GROUP,
            summary="A log-in in a browser as it goes on",
            description="Server-sent events `status`, each with an OperationState; the last one is final, unless the"
            " server stops.",
            request=NamedOperation,
            answer=str,
            who=BROWSER,
            problems=(_FOREIGN, _OFF),
        ),
        ("POST", "/web/login/cancel"): Described(
            group=_GROUP,
            summary="Cancel a log-in in a browser",
            request=NamedOperation,
            status=204,
            who=BROWSER,
            problems=(_FOREIGN, _OFF),
        ),
        ("POST", "/web/login/finish"): Described(
            group=_GROUP,
            summary="Exchange a log-in that succeeded for a log-in cookie",
            description="Once, by the browser that began it.",
            request=FinishLogIn,
            answer=LoggedIn,
            who=BROWSER,
            problems=(
                (403, "Origin is not this server's, or there is nothing of this browser's to exchange"),
                _OFF,
            ),
        ),
    }


def _account() -> dict[tuple[str, str], Described]:
    return {
        ("GET", "/web/account"): Described(
            group=_GROUP,
            summary="Who is logged in, by which key",
            answer=Account,
            who=LOGGED_IN,
            problems=((401, "this browser is not logged in"), _OFF),
        ),
        ("POST", "/web/logout"): Described(
            group=_GROUP,
            summary="Log a browser out",
            request=dict,
            status=204,
            who=LOGGED_IN,
            problems=(_FOREIGN, _OFF),
        ),
    }
