"""The authorization endpoint: a page, or the way back to the client.

It is reached from other sites, where a browser keeps cookies that are SameSite=Strict to itself. So who is logged in,
and which browser this is, only the page's own script asks (`consent`); opening the page changes nothing.
"""

from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response
from fidoloop.server.oauth.answers import NO_STORE
from fidoloop.server.oauth.authorization.opened import SentBack, read_asked
from fidoloop.server.web.layout import elsewhere, page, words_page


async def serve(environment: Environment, request: Request) -> Response:
    """Answer with the page where a person logs in and says yes or no."""
    if not environment.config.web:
        raise HttpProblem(404, "there is nothing at this path")
    try:
        await read_asked(environment, environment.store, request.query)
    except OAuthRefusal as refusal:
        answer = words_page(
            "This request cannot be answered",
            f"The app that sent you here asked for something that is not possible: {refusal.what}.",
            status=400,
        )
    except SentBack as sent:
        answer = elsewhere(sent.location)
    else:
        answer = page("authorize", "Allow access", logged_in=False)
    return answer._replace(headers=(*answer.headers, NO_STORE))
