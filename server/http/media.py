"""Media types: what was sent, and what is wanted back (RFC 9110 sections 8.3 and 12.5.1; HTTP contract 1)."""

from functools import lru_cache


@lru_cache(maxsize=256)
def media_type(header: bytes) -> str | None:
    """Return type/subtype of a Content-Type in lower case, or None where it is malformed or names another charset."""
    essence, *parameters = (part.strip() for part in header.decode("latin-1").lower().split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') != "utf-8":
            return None
    return essence


@lru_cache(maxsize=1024)
def accepts(header: bytes, wanted: str, *, wildcards: bool) -> bool:
    """Tell whether an Accept header takes `wanted`; with `wildcards`, `*/*` and `type/*` count too."""
    names = {wanted, f"{wanted.partition('/')[0]}/*", "*/*"} if wildcards else {wanted}
    for item in header.decode("latin-1").lower().split(","):
        essence, *parameters = (part.strip() for part in item.split(";"))
        if essence in names and not any(_is_zero_quality(parameter) for parameter in parameters):
            return True
    return False


def _is_zero_quality(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip().rstrip("0").rstrip(".") in ("", "0")
