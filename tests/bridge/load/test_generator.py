"""Simulated phones at a real server."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from fidoloop.bridge.load.failures import Failure
from fidoloop.bridge.load.flows import Account, Kind
from fidoloop.bridge.load.generator import Generator, Outcome
from fidoloop.bridge.load.phone import SimulatedPhone
from fidoloop.bridge.load.schedule import Limits
from fidoloop.bridge.load.twice import ACCEPTED, Twice
from tests.bridge.load.conftest import LoadLab


def generator(lab: LoadLab, *, kind: Kind = Kind.UAF, twice: Twice | None = None) -> Generator:
    return Generator(lab.endpoint, api_key=lab.api_key, kind=kind, dispatcher="link", twice=twice)


async def loaded(load: Generator, users: Sequence[Account], limits: Limits) -> list[Outcome]:
    await load.enrol(users)
    seen: list[Outcome] = []
    await load.run(limits, observe=seen.append)
    return seen


@pytest.mark.parametrize("kind", list(Kind))
def test_accounts_log_in_as_often_as_asked_each_with_its_own_counter(lab: LoadLab, kind: Kind) -> None:
    load, users = generator(lab, kind=kind), lab.accounts()
    seen = asyncio.run(loaded(load, users, Limits(seconds=None, count=9)))
    assert not load.tally.errors
    assert load.tally.latencies.count == len(seen) == 9
    assert sum(account.phone.counter for account in users) == 9
    for each in seen:
        assert each.failure is None
        assert (each.session_id != "") == (kind is not Kind.UAF)
        if kind is Kind.OUT_OF_BAND:
            assert lab.laptop.status(each.session_id).userId == each.account.username


_OF_A_SECOND = {
    Kind.UAF: {"UAF 1491"},
    Kind.OUT_OF_BAND: {"UAF 1403", "UAF 1491"},
    Kind.FIDO2: {"HTTP 400"},
}
"""What the second request gets where one may succeed."""


@pytest.mark.parametrize("twice", list(Twice))
@pytest.mark.parametrize("kind", list(Kind))
def test_of_two_equal_requests_one_counts(lab: LoadLab, kind: Kind, twice: Twice) -> None:
    load = generator(lab, kind=kind, twice=twice)
    asyncio.run(loaded(load, lab.accounts(), Limits(seconds=None, count=6)))
    repeats = load.tally.repeats
    assert not load.tally.errors
    assert not repeats.accepted_twice
    assert load.tally.latencies.count == 6
    if twice is Twice.RETRY:
        once = _OF_A_SECOND[kind]
        assert {kind for _, kind in repeats.outcomes} == once | {ACCEPTED}


def test_what_the_server_refuses_is_counted_by_service_and_kind_and_the_rest_goes_on(lab: LoadLab) -> None:
    load, users = generator(lab), lab.accounts(2)
    wrong = SimulatedPhone.in_software()

    async def check() -> None:
        await load.enrol(users)
        # One phone signs with another key from now on.
        users[0].phone.sign = wrong.sign
        await load.run(Limits(seconds=None, count=4), connections=1)

    asyncio.run(check())
    assert load.tally.errors == Counter({("authentication", "UAF 1498"): 2})
    assert load.tally.latencies.count == 2


def test_an_account_that_cannot_be_enrolled_is_an_error(lab: LoadLab) -> None:
    load = generator(lab)
    with pytest.raises(Failure) as caught:
        asyncio.run(load.enrol([Account("nobody-of-this-name", SimulatedPhone.in_software())]))
    assert (caught.value.step, caught.value.kind) == ("registration request", "UAF 1400")
    with pytest.raises(ValueError, match="nobody is enrolled"):
        asyncio.run(load.run(Limits(seconds=None, count=1)))


def test_deregistered_the_keys_are_gone(lab: LoadLab) -> None:
    load, users = generator(lab), lab.accounts(2)

    async def check() -> None:
        await load.enrol(users)
        assert not await load.deregister()
        load.accounts = list(users)
        await load.run(Limits(seconds=None, count=2, rate=100.0))
        assert await load.deregister() == Counter({("deregistration", "UAF 1481"): 2})

    asyncio.run(check())
    assert load.tally.errors == Counter({("authentication", "UAF 1481"): 2})


def test_stopped_it_ends_what_is_in_flight(lab: LoadLab) -> None:
    load, users, stop = generator(lab), lab.accounts(), asyncio.Event()

    async def check() -> None:
        await load.enrol(users)
        async with asyncio.timeout(60):
            tally = await load.run(Limits(seconds=None), stop=stop, observe=lambda _: stop.set())
        assert not tally.errors
        assert tally.latencies.count >= 1

    asyncio.run(check())
