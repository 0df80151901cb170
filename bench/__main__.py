"""`make bench`: prints a table and writes build/bench.json. Names: only those; --json: one object instead."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import (
    dpop,
    http_uaf_auth,
    many_credentials,
    oauth_http,
    oob_login,
    oob_login_ble,
    oob_login_push,
    page_stream,
    policy,
    replay_store,
    start,
    statements,
    uaf_registration,
    uaf_sign,
    uaf_verify,
    uaf_verify_rsa,
    webauthn_verify,
    workers,
)
from bench.apart import apart
from bench.machine import describe
from bench.measure import Row
from bench.report import MACHINE, MEASURED, cells

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
    "workers-2": workers.run,
    "credentials-1M": many_credentials.run,
    "log-in-statements": statements.run,
    "memory": apart("bench.memory"),
    "start": start.run,
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

_COLUMNS = (
    SpinnerColumn(),
    TextColumn("measuring {task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
)


def main(arguments: list[str]) -> int:
    """Run the groups; 1 where a figure that the project holds itself to is missed, 2 for a name that is none."""
    as_json, names = "--json" in arguments, [each for each in arguments if each != "--json"]
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        sys.stderr.write(f"no such measurement: {', '.join(unknown)}; there are {', '.join(GROUPS)}\n")
        return 2
    wanted = names or list(GROUPS)
    machine = describe()
    _write(MACHINE, machine)
    rows: list[Row] = []
    # What was measured before and is not now stays, for one page out of several runs.
    kept = json.loads(MEASURED.read_text("utf-8")) if names and MEASURED.exists() else []
    found = {row["name"]: row for row in kept}
    progress = Progress(*_COLUMNS, console=Console(stderr=True), transient=True)
    with progress:
        task = progress.add_task("", total=len(wanted))
        for name in wanted:
            progress.update(task, description=name)
            if not progress.console.is_terminal:
                sys.stderr.write(f"measuring {name}\n")
            rows += GROUPS[name]()
            # After each, so that a run that is cut off has not been for nothing.
            found |= {row.name: row.as_json() for row in rows}
            _write(MEASURED, list(found.values()))
            progress.advance(task)
    if as_json:
        sys.stdout.write(json.dumps({"machine": machine, "rows": [row.as_json() for row in rows]}, indent=1) + "\n")
    else:
        _show(machine, rows)
    return 0 if all(row.met for row in rows) else 1


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _show(machine: Mapping[str, str], rows: Sequence[Row]) -> None:
    table = Table("figure", "value", "unit", "floor", "ratio", "wanted", "result")
    for row in rows:
        colour = {"reached": "[green]", "missed": "[red]"}.get(row.result, "")
        table.add_row(row.name, *cells(row)[1:-1], f"{colour}{row.result}")
    console = Console()
    console.print(table)
    console.print("\n".join(f"{name}: {value}" for name, value in machine.items() if value), highlight=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
