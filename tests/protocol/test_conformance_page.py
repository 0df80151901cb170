"""Every file, name and test that the pages about conformance claim is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/uaf-conformance.md").read_text("utf-8")
FIDO2_PAGE = (ROOT / "docs/fido2.md").read_text("utf-8")
CTAP2_PAGE = (ROOT / "docs/ctap2.md").read_text("utf-8")
OAUTH_PAGE = (ROOT / "docs/oauth-conformance.md").read_text("utf-8")
CLAIMS = sorted(set(re.findall(r"`([\w/.-]+\.py[\w:.]*)`", PAGE + FIDO2_PAGE + CTAP2_PAGE + OAUTH_PAGE)))


@cache
def names(file: str) -> frozenset[str]:
    """Returns the functions, classes, methods (Class.method) and constants that a module defines."""
    found: set[str] = set()
    for node in ast.parse((ROOT / file).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{node.name}.{method.name}" for method in methods}
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_the_page_names_is_there(claim: str) -> None:
    file, _, name = claim.partition(":")
    assert (ROOT / file).is_file()
    if name:
        assert name.lstrip(":") in names(file)


def test_every_rule_says_where_it_is_implemented_and_which_test_holds_it() -> None:
    lines = (PAGE + FIDO2_PAGE + OAUTH_PAGE).splitlines()
    rules = [line for line in lines if line.startswith("| ") and line.count("`") and line.count(" | ") == 3]
    assert len(rules) > 125
    for rule in rules:
        _, _, implemented, held = rule.strip("| ").split(" | ")
        assert re.findall(r"`[\w/]+\.py:[\w.]+`", implemented), rule
        assert re.findall(r"`tests/[\w/]+\.py(::test_\w+)?`", held), rule


def test_what_is_not_implemented_is_said() -> None:
    missing = PAGE[PAGE.index("## Not implemented") :]
    for what in ("ECDAA", "SM2", "SHA-1", "safetynet", "WAV1CBOR"):
        assert what in missing
