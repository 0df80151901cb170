"""What a response says and which of its rules hold, one by one: the rules of a server, told apart, not just applied.

A server stops at the first broken rule; whoever studies a response wants to see each.
"""

from datetime import datetime
from typing import Any

import msgspec

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import final_challenge, inspect_authentication, inspect_registration
from fidoloop.protocol.uaf.extensions import KNOWN_TO_SERVER, first_unknown_required
from fidoloop.protocol.uaf.inspection import AssertionReport, Check, Outcome
from fidoloop.protocol.uaf.verification_input import VerificationInput

_SIGNATURES = frozenset({inspect_registration.SIGNATURE, inspect_authentication.SIGNATURE})


class ResponseReport(msgspec.Struct, frozen=True):
    """What a response says and which rules hold."""

    says: dict[str, Any]
    checks: tuple[Check, ...]
    assertions: tuple[AssertionReport, ...]

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """The checks of the message and of every assertion."""
        return self.checks + tuple(check for assertion in self.assertions for check in assertion.checks)

    def verified(self, *, strict: bool) -> bool:
        """Tell whether every rule that could be checked holds, every signature among them.

        Signatures must have been checked; other rules may be left out for want of what they need, unless `strict`.
        """
        for check in self.all_checks:
            if check.outcome is Outcome.FAILED:
                return False
            if check.outcome is Outcome.NOT_CHECKED and (strict or check.name in _SIGNATURES):
                return False
        return True


def inspect_response(given: VerificationInput, *, now: datetime) -> ResponseReport:
    """Return what the response in `given` says and the outcome of each rule; `now` counts where no time was given.

    Raises:
        MalformedError: an assertion cannot be parsed; `where` names it.
    """
    response = given.response
    header = response.header
    inspect = {
        "Reg": inspect_registration.inspect_registration,
        "Auth": inspect_authentication.inspect_authentication,
    }.get(header.op)
    if inspect is None:
        raise MalformedError("header.op", "neither Reg nor Auth")
    says: dict[str, Any] = {
        "operation": header.op,
        "version": f"{header.upv.major}.{header.upv.minor}",
        "appID": header.appID or "",
    }
    checks = [_fc_params(given, says)]
    unknown = first_unknown_required(header.exts or (), KNOWN_TO_SERVER)
    if unknown is not None:
        checks.append(Check("extensions", Outcome.FAILED, f"{unknown} must be understood and is not"))
    if not response.assertions:
        checks.append(Check("assertions", Outcome.FAILED, "there are none"))
    reports = tuple(
        inspect(wrapper, f"assertions[{index}].assertion", given, given.at or now)
        for index, wrapper in enumerate(response.assertions)
    )
    return ResponseReport(says, tuple(checks), reports)


def _fc_params(given: VerificationInput, says: dict[str, Any]) -> Check:
    """Return how fcParams stand to the header, and add to `says` what is in them."""
    if not given.fc_params_known:
        return Check("fcParams", Outcome.NOT_CHECKED, "not given")
    try:
        params = final_challenge.decode(given.response.fcParams)
    except MalformedError as error:
        return Check("fcParams", Outcome.FAILED, str(error))
    says |= {"facetID": params.facetID, "challenge": params.challenge}
    says["channelBinding"] = msgspec.to_builtins(params.channelBinding)
    app_id = given.response.header.appID
    same = not app_id or app_id == params.appID
    return Check("fcParams", Outcome.OK if same else Outcome.FAILED, "" if same else "appID is not the header's")
