"""Metadata statements and the payload of the metadata service's BLOB (FIDO metadata statements 4; service 3.1)."""

from typing import Any

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.embedded import in_base64
from fidoloop.protocol.inspect.json_tree import Member, Members, json_tree
from fidoloop.protocol.inspect.node import Node, bits
from fidoloop.protocol.inspect.uaf import tell_algorithm, tell_attestation, tell_bits
from fidoloop.protocol.uaf.metadata import parse_metadata, read_entry
from fidoloop.protocol.uaf.registry import (
    AttachmentHint,
    KeyProtection,
    MatcherProtection,
    TransactionConfirmationDisplay,
    UserVerification,
)
from fidoloop.protocol.uaf.status_reports import UNACCEPTABLE_STATUSES


def _method(value: object, _: Context) -> tuple[str, str]:
    return bits(UserVerification, value), ""


_STATEMENT: Members = {
    "aaid": Member("the model (UAF)"),
    "aaguid": Member("the model (FIDO2)"),
    "attestationCertificateKeyIdentifiers": Member("the models (U2F)"),
    "description": Member("the model's name"),
    "authenticatorVersion": Member("versions below it are not accepted"),
    "upv": Member("protocol versions"),
    "authenticationAlgorithm": Member("ALG_SIGN of its keys", tell=tell_algorithm),
    "authenticationAlgorithms": Member("ALG_SIGN of its keys", tell=tell_algorithm),
    "attestationTypes": Member("how it vouches for keys", tell=tell_attestation),
    "userVerificationDetails": Member(
        "alternatives of methods", {"userVerification": Member("", tell=_method), "caDesc": Member("quality of a PIN")}
    ),
    "keyProtection": Member("where its keys are", tell=tell_bits(KeyProtection)),
    "matcherProtection": Member("where it verifies users", tell=tell_bits(MatcherProtection)),
    "attachmentHint": Member("how it is attached", tell=tell_bits(AttachmentHint)),
    "tcDisplay": Member("what shows transactions", tell=tell_bits(TransactionConfirmationDisplay)),
    "isSecondFactorOnly": Member("keeps no user names: the server names the key"),
    "attestationRootCertificates": Member("what its attestation chains to", read=in_base64),
    "icon": Member("a picture, as a data: URL"),
}
_ENTRY: Members = {
    **_STATEMENT,
    "metadataStatement": Member("the statement", _STATEMENT),
    "statusReports": Member(
        "what is known of the model",
        {"status": Member("", tell=lambda value, _: ("", "forbids its use" if value in UNACCEPTABLE_STATUSES else ""))},
    ),
}


def _sum_up(entry: Any) -> str:  # noqa: ANN401  # JSON
    if not isinstance(entry, dict):
        return ""
    statement = entry.get("metadataStatement")
    name = str(statement.get("description", "")) if isinstance(statement, dict) else ""
    reports = entry.get("statusReports")
    found = [one.get("status") for one in reports if isinstance(one, dict)] if isinstance(reports, list) else []
    model = entry.get("aaid") or entry.get("aaguid") or "U2F"
    return ", ".join(part for part in (str(model), name, " ".join(map(str, found))) if part)


def _entry(entry: object, _: Context) -> tuple[str, str]:
    """Tell what is wrong with a UAF model's entry; those of FIDO2 and U2F are not looked at."""
    if not isinstance(entry, dict) or not isinstance(entry.get("aaid"), str):
        return "", ""
    try:
        read_entry(entry, "$")
    except MalformedError as error:
        return "", str(error)
    return "", ""


BLOB: Members = {
    "legalHeader": Member("terms of use"),
    "no": Member("number of the BLOB: a lower one never replaces a higher"),
    "nextUpdate": Member("by when to fetch the next"),
    "entries": Member("one for each model", tell=_entry, sum_up=_sum_up),
}


def read_statement(content: Content, context: Context) -> Node:
    """Return a metadata statement, bare or in its entry. Raises MalformedError."""
    inner = content.member("metadataStatement")
    is_uaf = content.has("aaid") or (isinstance(inner, dict) and "aaid" in inner)
    check = (lambda text: parse_metadata(text.encode("utf-8"))) if is_uaf else None
    return json_tree(content, context, "metadata statement", _ENTRY, check)


KINDS = (
    Kind(
        "metadata",
        "a metadata statement",
        lambda content: content.has("attestationRootCertificates") or content.has("metadataStatement"),
        read_statement,
    ),
)
