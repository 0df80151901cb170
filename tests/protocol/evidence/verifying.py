"""How the tests verify: everything as expected unless a test says otherwise."""

from typing import Any

import pytest

from fidoloop.protocol.evidence.values import Appraisal, Evidence, EvidenceCheck, EvidenceRefusal
from fidoloop.protocol.evidence.verify import verify_evidence

from ..builders import AT, p256
from .builders import ANCHORS, NONCE, USER_KEY


def verified(evidence: Evidence, **changes: Any) -> Appraisal:  # noqa: ANN401 - arguments of `verify_evidence`
    arguments: dict[str, Any] = {
        "anchors": ANCHORS,
        "expected_nonce": NONCE,
        "expected_key": p256(USER_KEY).public_key(),
        "at": AT,
    }
    return verify_evidence(evidence, **(arguments | changes))


def refused(evidence: Evidence, **changes: Any) -> EvidenceCheck:  # noqa: ANN401 - arguments of `verify_evidence`
    with pytest.raises(EvidenceRefusal) as caught:
        verified(evidence, **changes)
    assert caught.value.detail
    assert caught.value.code == f"evidence_{caught.value.check.lower()}"
    return caught.value.check
