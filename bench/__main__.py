"""`make bench`: prints a table and writes build/bench.json; with names, only those."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import (
    dpop,
    http_uaf_auth,
    oauth_http,
    oob_login,
    oob_login_ble,
    oob_login_push,
    page_stream,
    policy,
    replay_store,
    uaf_registration,
    uaf_sign,
    uaf_verify,
    uaf_verify_rsa,
    webauthn_verify,
)
from bench.apart import apart
from bench.measure import Row

GROUPS = {
    "uaf-verify": uaf_verify.run,
    "uaf-verify-rsa": uaf_verify_rsa.run,
    "uaf-verify-full-attestation": uaf_registration.run,
    "policy-200x50": policy.run,
    "webauthn-verify": webauthn_verify.run,
    "dpop-verify": dpop.run,
    "uaf-sign-softhsm": uaf_sign.run,
    "sign-softhsm": apart("bench.device_sign", "sign", "softhsm"),
    "sign-softhsm-p11kit-proxy": apart("bench.device_sign", "sign", "softhsm-p11kit-proxy"),
    "sign-p11kit-client": apart("bench.device_sign", "sign", "p11kit-client"),
    "sign-tpm": apart("bench.device_sign", "sign", "tpm"),
    "sign-softhsm-threads": apart("bench.device_sign", "threads", "softhsm"),
    "sign-softhsm-p11kit-proxy-threads": apart("bench.device_sign", "threads", "softhsm-p11kit-proxy"),
    "open-softhsm": apart("bench.open_store"),
    "http-uaf-auth": http_uaf_auth.run,
    "oauth-http": oauth_http.run,
    "oauth-replay-1M": replay_store.run,
    "oob-login-qr": oob_login.run,
    "oob-login-web-push": oob_login_push.run,
    "web-push-500": apart("bench.push_phones"),
    "oob-login-ble": oob_login_ble.run,
    "page-stream": page_stream.run,
    "apdu-virtual-card": apart("bench.virtual_card"),
    "sign-piv": apart("bench.piv_sign"),
    "ctap2": apart("bench.ctap2"),
}


def main(names: list[str]) -> int:
    """Run the groups; 1 where a ratio is below what is wanted."""
    console = Console(stderr=True)
    rows: list[Row] = []
    for name, run in GROUPS.items():
        if not names or name in names:
            with console.status(f"measuring {name}"):
                rows += run()
    build = Path("build")
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n", encoding="utf-8")
    table = Table("figure", "value", "unit", "floor", "ratio", "wanted")
    for row in rows:
        colour = "green" if row.met else "red"
        table.add_row(
            row.name,
            f"{row.value:,.1f}" if row.limit is None else f"[{colour}]{row.value:,.3f}[/{colour}]",
            row.unit,
            "" if row.floor is None else f"{row.floor:,.1f}",
            "" if row.ratio is None else f"[{colour}]{row.ratio:.3f}[/{colour}]",
            _wanted(row),
        )
    Console().print(table)
    return 0 if all(row.met for row in rows) else 1


def _wanted(row: Row) -> str:
    if row.limit is not None:
        return f"≤ {row.limit:.2f} {row.unit}"
    return "" if row.wanted is None else f"≥ {row.wanted:.2f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
