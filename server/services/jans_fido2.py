"""The FIDO2 services in the shape of Janssen's server, which is that of the FIDO conformance tools with names."""

from msgspec import UNSET
from msgspec.structs import asdict

from fidoloop.protocol import strictjson
from fidoloop.protocol.webauthn.messages import CredentialDescriptor
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response, json_response
from fidoloop.server.services.fido2_ceremonies import (
    authentication_options,
    authentication_result,
    registration_options,
    registration_result,
    telling_failures,
)
from fidoloop.server.services.fido2_messages import (
    OK,
    Fido2Configuration,
    Fido2Endpoints,
    Fido2Options,
    Fido2OptionsRequest,
    Fido2Result,
)

BASE_PATH = "/jans-fido2/restv1"
WELL_KNOWN = "/.well-known/fido2-configuration"
VERSION = "1.1"


async def serve_configuration(environment: Environment, request: Request) -> Response:
    """200 with where the services are."""
    base_url = environment.config.base_url

    def endpoints(name: str) -> Fido2Endpoints:
        base = f"{base_url}{BASE_PATH}/{name}"
        return Fido2Endpoints(base, f"{base}/options", f"{base}/options", f"{base}/result", f"{base}/result")

    return json_response(Fido2Configuration(VERSION, base_url, endpoints("attestation"), endpoints("assertion")))


@telling_failures
async def serve_attestation_options(environment: Environment, request: Request) -> Response:
    """200 with creation options."""
    asked = strictjson.decode(request.body, Fido2OptionsRequest)
    _, options = await registration_options(environment, request, asked)
    return json_response(Fido2Options(status=OK, errorMessage="", **asdict(options)))


@telling_failures
async def serve_attestation_result(environment: Environment, request: Request) -> Response:
    """200 with the credential that is registered now."""
    credential = (await registration_result(environment, request)).credential
    created = CredentialDescriptor("public-key", credential.id, credential.transports or UNSET)
    return json_response(Fido2Result(status=OK, errorMessage="", createdCredentials=created))


@telling_failures
async def serve_assertion_options(environment: Environment, request: Request) -> Response:
    """200 with request options."""
    asked = strictjson.decode(request.body, Fido2OptionsRequest)
    _, options = await authentication_options(environment, request, asked)
    return json_response(Fido2Options(status=OK, errorMessage="", user=asked.username, **asdict(options)))


@telling_failures
async def serve_assertion_result(environment: Environment, request: Request) -> Response:
    """200 with the credential that answered."""
    found = await authentication_result(environment, request)
    used = CredentialDescriptor("public-key", found.credential_id, found.transports or UNSET)
    return json_response(Fido2Result(status=OK, errorMessage="", authenticatedCredentials=used))
