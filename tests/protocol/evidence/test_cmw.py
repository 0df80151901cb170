"""Evidence as records and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import cmw
from fidoloop.protocol.evidence.values import Evidence, EvidenceKind

TYPE = "application/vnd.fidoloop.pkix-evidence"
OTHER_TYPE = "application/vnd.fidoloop.tpm2-certify+json"
POSSESSION = "application/vnd.fidoloop.key-possession"


@given(st.builds(Evidence, st.sampled_from(EvidenceKind), st.binary(), st.binary(max_size=100)))
def test_what_was_written_is_what_is_read(evidence: Evidence) -> None:
    assert cmw.decode(cmw.encode(evidence).encode()) == evidence


def test_a_record_is_media_type_value_and_indicator() -> None:
    text = cmw.encode(Evidence(EvidenceKind.PIV, b"value", b"signature"))
    assert json.loads(text) == [
        ["application/vnd.fidoloop.piv-attestation+x5c", "dmFsdWU", 4],
        [POSSESSION, "c2lnbmF0dXJl", 4],
    ]


@pytest.mark.parametrize(
    "records",
    [
        [],
        {},
        [[TYPE, "AA"]] * 9,
        [["text/plain", "AA", 4]],
        [[TYPE, "AA", 8]],
        [[TYPE, "AA", "4"]],
        [[TYPE, "AA", 4, 4]],
        [[TYPE]],
        [[TYPE, "A", 4]],
        [[TYPE, "AA==", 4]],
        [[TYPE, "AA", 4], [TYPE, "AA", 4]],
        [[TYPE, "AA", 4], [OTHER_TYPE, "AA", 4]],
        [[POSSESSION, "AA", 4]],
        [[TYPE, "A" * 90000, 4]],
    ],
)
def test_what_is_no_evidence_is_malformed(records: object) -> None:
    with pytest.raises(MalformedError):
        cmw.decode(json.dumps(records).encode())


def test_sizes_are_capped_before_anything_is_parsed() -> None:
    with pytest.raises(MalformedError, match="262144"):
        cmw.decode(b"[" * 262145)
