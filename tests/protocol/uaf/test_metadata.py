import base64
import json
from typing import Any

import pytest

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MAX_STATEMENT_BYTES, combined_user_verification, parse_metadata
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

from ..builders import AAID, SURROGATE, entry, root, statement, to_der

ROOT = base64.b64encode(to_der(root())).decode()


def document(**changes: object) -> bytes:
    return json.dumps(statement(**changes)).encode()


def test_a_bare_statement_and_an_entry_with_statuses_are_read() -> None:
    bare = parse_metadata(document())
    assert (bare.statement.aaid, bare.roots, bare.status_reports) == (AAID, (root(),), ())
    wrapped = entry(statuses=("NOT_FIDO_CERTIFIED",))
    assert wrapped.statement == bare.statement
    assert wrapped.status_reports[0].status == "NOT_FIDO_CERTIFIED"


def test_a_root_may_be_broken_into_lines() -> None:
    lines = "\n".join(ROOT[start : start + 64] for start in range(0, len(ROOT), 64))
    assert parse_metadata(document(attestationRootCertificates=[lines])).roots == (root(),)


def test_defaults_are_those_of_the_specification() -> None:
    found = parse_metadata(document()).statement
    assert (found.protocolFamily, found.isKeyRestricted, found.isFreshUserVerificationRequired) == ("uaf", True, True)


REQUIRED = [name for name in statement() if name not in ("protocolFamily",)]


@pytest.mark.parametrize("member", REQUIRED)
def test_a_required_member_must_be_there(member: str) -> None:
    with pytest.raises(MalformedError, match=member):
        parse_metadata(document(**{member: None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"aaid": "F10B0113"},
        {"aaid": "F10B#0113\n"},
        {"aaid": "xF10B#0113"},
        {"description": ""},
        {"authenticatorVersion": 65536},
        {"upv": []},
        {"attestationTypes": []},
        {"userVerificationDetails": []},
        {"userVerificationDetails": [[]]},
        {"authenticationAlgorithm": "1"},
        {"attestationRootCertificates": ["*"]},
        {"attestationRootCertificates": [ROOT[:-4]]},
        {"attestationRootCertificates": [""]},
        {"attestationRootCertificates": ["AAAA"]},
        {"attestationRootCertificates": ROOT},
        {"attestationTypes": [0x3E08]},
    ],
)
def test_a_statement_outside_the_rules_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse_metadata(document(**changes))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", document() + b" " * MAX_STATEMENT_BYTES])
def test_what_is_no_statement_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_metadata(data)


@pytest.mark.parametrize(
    ("details", "combined"),
    [
        ([[4]], 0x04),
        ([[4, 2]], 0x406),
        ([[4], [2]], 0x06),
        ([[4], [2, 16]], 0),
        ([[0x200]], 0x200),
    ],
)
def test_user_verification_is_combined_as_the_policy_compares_it(details: list[list[int]], combined: int) -> None:
    members = [[{"userVerification": bit} for bit in methods] for methods in details]
    found = entry(userVerificationDetails=members)
    assert combined_user_verification(found.statement) == combined
    assert found.facts(key_id="k", version=1).user_verification == combined


@pytest.mark.parametrize(("statuses", "refused"), [((), False), (("FIDO_CERTIFIED_L1",), False), (("REVOKED",), True)])
def test_a_status_that_forbids_use_refuses_the_model(statuses: tuple[str, ...], refused: bool) -> None:
    found = entry(statuses=statuses)
    if not refused:
        found.check_status(version=1, on=None)
        return
    with pytest.raises(UafRefusal, match="REVOKED") as caught:
        found.check_status(version=1, on=None)
    assert caught.value.status is StatusCode.REVOKED_AUTHENTICATOR


def test_an_entrys_aaid_is_its_statements() -> None:
    for aaid in (AAID, AAID.lower()):
        assert parse_metadata(json.dumps({"aaid": aaid, "metadataStatement": statement()}).encode()).roots
    with pytest.raises(MalformedError, match=r"\$\.aaid"):
        parse_metadata(json.dumps({"aaid": "F10B#9999", "metadataStatement": statement()}).encode())


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"metadataStatement": []}, r"\$\.metadataStatement"),
        ({"metadataStatement": statement(), "statusReports": [{}]}, "statusReports"),
        (
            {"metadataStatement": statement(), "statusReports": [{"status": "REVOKED", "effectiveDate": "soon"}]},
            "effec",
        ),
        ({"metadataStatement": statement(keyProtection=3)}, r"\$\.metadataStatement\.keyProtection"),
    ],
)
def test_an_entry_outside_the_rules_is_malformed_and_says_where(members: dict[str, Any], where: str) -> None:
    with pytest.raises(MalformedError, match=where):
        parse_metadata(json.dumps(members).encode())


def test_facts_are_the_models_but_for_what_the_assertion_says() -> None:
    model = entry(aaid="f10b#0113", attestationTypes=[0x3E07, 0x3E08])
    assert model.model_facts.aaid == AAID
    facts = model.facts(key_id="k", version=7)
    assert (facts.key_ids, facts.version, facts.attachment_hint) == (frozenset({"k"}), 7, None)
    assert facts.attestation_types == {0x3E07, 0x3E08}
    assert model.facts(key_id="k", version=7, attestation_type=0x3E07).attestation_types == {0x3E07}


def test_a_surrogate_model_lists_no_roots() -> None:
    assert entry(**SURROGATE).roots == ()
