"""Every model of a phone, from its key in the token to a log-in that a real server takes."""

from pathlib import Path

import pytest

from fidoloop.authenticator.key_kinds import KEY_KINDS, KeyKind
from fidoloop.authenticator.models import models_of
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.registry import UserVerification
from fidoloop.pytest_plugin import Lab


@pytest.mark.parametrize("kind", KEY_KINDS, ids=lambda kind: kind.name)
def test_every_model_registers_and_logs_in_on_softhsm(fidoloop_lab: Lab, kind: KeyKind) -> None:
    pass
