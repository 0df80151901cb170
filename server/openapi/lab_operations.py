"""The lab console, described; where the lab is off it is not there, and not described either."""

from fidoloop.server.http.messages import EVENT_STREAM
from fidoloop.server.lab.faults import Injected, InjectFault
from fidoloop.server.lab.making import CodeShown, NewLabSession
from fidoloop.server.lab.overview import Overview
from fidoloop.server.lab.services import EnterLab, NamedSession, StoryShown
from fidoloop.server.openapi.described import LAB, Described

_GROUP = "Lab console"
_FOREIGN = (403, "Host or Origin is not this server's")
_SHUT = (401, "the browser has not opened the lab console")


def lab_operations() -> dict[tuple[str, str], Described]:
    """Return the operations by method and path."""
    return _access() | _seen() | _made()


def _access() -> dict[tuple[str, str], Described]:
    return {
        ("GET", "/lab"): Described(
            group=_GROUP,
            summary="The lab console",
            description="The page says nothing of the server; what it shows it asks the services for.",
            answer=str,
            media="text/html",
            problems=(_FOREIGN,),
        ),
        ("POST", "/lab/enter"): Described(
            group=_GROUP,
            summary="Open the lab console",
            description="By the token that the server printed, once; it sets the cookie.",
            request=EnterLab,
            status=204,
            problems=((403, f"{_FOREIGN[1]}, or the token is another or was used"),),
        ),
        ("POST", "/lab/leave"): Described(
            group=_GROUP, summary="Shut the lab console", request=dict, status=204, who=LAB, problems=(_SHUT, _FOREIGN)
        ),
    }


def _seen() -> dict[tuple[str, str], Described]:
    return {
        ("GET", "/lab/overview"): Described(
            group=_GROUP,
            summary="What is registered: users, dispatch targets, keys",
            answer=Overview,
            who=LAB,
            problems=(_SHUT, _FOREIGN),
        ),
        ("POST", "/lab/stream"): Described(
            group=_GROUP,
            summary="Sessions as they go on",
            description="Server-sent events `session`, each with a SessionShown: one for each session as it is, then"
            " one for each that changed, until the server stops. With an empty id: messages that belong to no session."
            "",
            request=dict,
            answer=str,
            media=EVENT_STREAM,
            who=LAB,
            problems=(_SHUT, _FOREIGN),
        ),
        ("POST", "/lab/session"): Described(
            group=_GROUP,
            summary="What happened in a session",
            description="States, messages and faults in their order; messages are redacted, assertions are trees that"
            " name every byte. An empty id is for the messages that belong to no session.",
            request=NamedSession,
            answer=StoryShown,
            who=LAB,
            problems=(_SHUT, _FOREIGN),
        ),
    }


def _made() -> dict[tuple[str, str], Described]:
    return {
        ("POST", "/lab/session/new"): Described(
            group=_GROUP,
            summary="Begin a session in the lab",
            description="An authentication that logs nobody in; its code is for a test phone.",
            request=NewLabSession,
            answer=CodeShown,
            who=LAB,
            problems=(_SHUT, _FOREIGN, (503, "the dispatcher `link` is not configured, or there is no such target")),
        ),
        ("POST", "/lab/session/fault"): Described(
            group=_GROUP,
            summary="Inject a fault",
            description="Into a session that was made in the lab, and into no other.",
            request=InjectFault,
            answer=Injected,
            who=LAB,
            problems=(
                _SHUT,
                _FOREIGN,
                (404, "the session was not made in the lab"),
                (409, "it is too late for this fault"),
            ),
        ),
    }
