"""policy-200x50: a policy of 200 criteria held against 50 authenticators, none of which meets any."""

import statistics
import time

from bench.measure import ROUNDS, Row
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.policy import AuthenticatorFacts, MatchCriteria, Policy, choose

CRITERIA, AUTHENTICATORS = 200, 50
ALL_ALGORITHMS = tuple(range(1, 10))


def run() -> list[Row]:
    """Measure the time of one evaluation, nothing kept from one to the next."""
    authenticators = [_authenticator(number) for number in range(AUTHENTICATORS)]
    policy = Policy(
        accepted=tuple((_criteria(number),) for number in range(CRITERIA - 20)),
        disallowed=tuple(_registered(number) for number in range(20)),
    )
    assert choose(policy, authenticators) is None
    rounds = []
    for _ in range(ROUNDS * 10):
        started = time.perf_counter()
        choose(policy, authenticators)
        rounds.append(time.perf_counter() - started)
    return [Row(f"policy-{CRITERIA}x{AUTHENTICATORS}", round(statistics.median(rounds) * 1000, 3), "ms", limit=1.0)]


def _authenticator(number: int) -> AuthenticatorFacts:
    return AuthenticatorFacts(
        f"F10B#{number:04X}",
        frozenset({base64url.encode(number.to_bytes(32))}),
        1 << number % 5,
        2,
        1 << number % 2,
        1,
        number % 4,
        frozenset({1 + number % 9}),
        frozenset({"UAFV1TLV"}),
        frozenset({0x3E07}),
        1,
    )


def _criteria(number: int) -> MatchCriteria:
    """Criteria of many kinds, each failing at its last member."""
    kind = number % 4
    if kind == 0:
        return MatchCriteria(aaid=(f"F10B#{number:04X}", f"ABCD#{number:04X}"), authenticatorVersion=2)
    if kind == 1:
        return MatchCriteria(aaid=(f"F10B#{number:04X}",), keyIDs=(base64url.encode((1000 + number).to_bytes(32)),))
    return MatchCriteria(
        userVerification=0x1F,
        keyProtection=0x0E,
        matcherProtection=3,
        authenticationAlgorithms=ALL_ALGORITHMS,
        assertionSchemes=("UAFV1TLV",),
        attestationTypes=(0x3E08,) if kind == 2 else (0x3E08, 0x3E07),
        authenticatorVersion=2,
    )


def _registered(number: int) -> MatchCriteria:
    return MatchCriteria(aaid=(f"F10B#{number:04X}",), keyIDs=(base64url.encode((2000 + number).to_bytes(32)),))
