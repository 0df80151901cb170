"""Who may enrol a credential for whom (HTTP contract 11)."""

from typing import Final, NamedTuple

from fidoloop.server.environment import Environment
from fidoloop.server.http.credentials import authorized_key_id
from fidoloop.server.http.dispatch import CredentialNeeded
from fidoloop.server.http.messages import Request
from fidoloop.server.oauth.jans_chip.enrolment import find_enrolment
from fidoloop.server.web import cookies, logged_in
from fidoloop.server.web.same_origin import is_from_own_pages

JANS_FIDO2: Final = "/jans-fido2/"


class Authority(NamedTuple):
    """Who asks, as a ceremony remembers it; `username` is the one user it may enrol, None for every user."""

    name: str
    username: str | None


async def enrolling_authority(environment: Environment, request: Request) -> Authority:
    """Return the holder of an API credential, or the user who is logged in in the browser that asks.

    Beside these, in a compatibility profile, the user whose password just came from the same address.

    Raises:
        HttpProblem: 401 neither of them.
    """
    key_id = await authorized_key_id(environment.store, request.headers.get(b"authorization"))
    if key_id is not None:
        return Authority(f"api:{key_id}", None)
    if environment.config.web and is_from_own_pages(environment, request):
        login = await logged_in.find(environment, request)
        if login is not None:
            return Authority(f"web:{cookies.read_digest(request, cookies.LOGIN)}", login.username)
    if request.path.startswith(JANS_FIDO2):
        opened = await find_enrolment(environment, request)
        if opened is not None:
            return Authority(f"jans-chip:{opened.session_hash}", opened.username)
    raise CredentialNeeded
