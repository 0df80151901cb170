"""Who may enrol a credential for whom (HTTP contract 11)."""

from fidoloop.server.environment import Environment
from fidoloop.server.http.credentials import authorized_key_id
from fidoloop.server.http.dispatch import credential_needed
from fidoloop.server.http.messages import Request


async def enrolling_authority(environment: Environment, request: Request) -> str:
    """Return who asks, as a ceremony remembers it: the holder of an API credential, which may enrol every user.

    Raises:
        HttpProblem: 401.
    """
    key_id = await authorized_key_id(environment.store, request.headers.get(b"authorization"))
    if key_id is None:
        raise credential_needed()
    return f"api:{key_id}"
