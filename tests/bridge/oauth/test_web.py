"""What a browser brings back, and the way back that an app registers."""

import pytest

from fidoloop.bridge.errors import UserDeclinedError
from fidoloop.bridge.oauth.errors import OAuthRefusedError
from fidoloop.bridge.oauth.web import authorize_url, code_in, with_way_back

ISSUER = "https://as.example"


def test_the_code_of_this_issuer_is_taken() -> None:
    assert code_in({"code": "c", "iss": ISSUER}, issuer=ISSUER) == "c"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"code": "c"}, "invalid_response"),
        ({"code": "c", "iss": "https://evil.example"}, "invalid_response"),
        ({"error": "access_denied", "iss": "https://evil.example"}, "invalid_response"),
        ({"error": "server_error", "error_description": "x" * 400, "iss": ISSUER}, "server_error"),
        ({"error": "invalid_scope", "code": "c", "iss": ISSUER}, "invalid_scope"),
        ({"iss": ISSUER}, "invalid_response"),
    ],
)
def test_another_issuers_answer_and_an_error_are_none(answer: dict[str, str], error: str) -> None:
    with pytest.raises(OAuthRefusedError) as refused:
        code_in(answer, issuer=ISSUER)
    assert refused.value.error == error


def test_a_persons_no_is_a_persons_no() -> None:
    with pytest.raises(UserDeclinedError):
        code_in({"error": "access_denied", "iss": ISSUER}, issuer=ISSUER)


def test_the_url_names_client_and_request() -> None:
    uri = authorize_url(ISSUER, "a&b", "urn:ietf:params:oauth:request_uri:x")
    assert uri == f"{ISSUER}/authorize?client_id=a%26b&request_uri=urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3Ax"


def test_a_registration_is_kept_but_for_the_way_back() -> None:
    registered = {
        "client_id": "c",
        "client_name": "n",
        "redirect_uris": ["https://app.example/"],
        "client_id_issued_at": 1,
        "registration_client_uri": "u",
    }
    changed = with_way_back(registered, ("http://127.0.0.1/callback",))
    assert changed == {
        "client_id": "c",
        "client_name": "n",
        "redirect_uris": ["https://app.example/", "http://127.0.0.1/callback"],
    }
    assert with_way_back(changed, ("http://127.0.0.1/callback",)) is None
