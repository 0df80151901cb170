"""`fidoloop phone listen`: the phone is pushed to, without anybody between it and its servers."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from fidoloop.authenticator.errors import AsmError
from fidoloop.bridge.errors import BridgeError, NoDispatchTargetError
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Account
from fidoloop.bridge.push.queue import PushMessage, PushQueue
from fidoloop.bridge.push.receiver import MAX_LINE, PushReceiver
from fidoloop.bridge.push.service import PATH, PushService
from fidoloop.bridge.push.subscriptions import PushSubscription
from fidoloop.cli.common import Home, Insecure, Json, PhoneName, cell, home_directory, note, show
from fidoloop.cli.phone_pending import catch_up
from fidoloop.cli.phone_session import DenyOption, Number, Yes, account_of, existing_phone, print_result
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.protocol.uaf.facets import origin

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
Next = Callable[[], PushMessage | None]


def listen(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 0,
    public_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="How the server reaches this, where not by https://localhost:PORT."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="PEM", help="TLS by this certificate.", exists=True, dir_okay=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The certificate's private key.", exists=True, dir_okay=False)
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Endpoint at a push service or UnifiedPush distributor: its messages are read"
            " from standard input, each a line of base64.",
        ),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Be pushed to for this account only.")] = None,
    server: Annotated[str | None, typer.Option(help="With --user, where the name has accounts at several.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End with the first push, and as that did.")] = False,
    number: Number = None,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Be a phone that log-ins are pushed to: ask, redeem and sign, until interrupted.

    What was missed meanwhile is carried out first. The servers are told where to push.
    Without --tls-cert and --insecure the certificate is of the lab CA in HOME/tls.
    """
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key belong together")
    if insecure and tls_cert is None and host not in _LOOPBACK:
        raise typer.BadParameter("plain http is for loopback addresses only", param_hint="--insecure")
    if public_url is not None:
        _origin(public_url)
    from fidoloop.bridge.push.listener import PushListener

    with existing_phone(name, home, yes=yes, deny=deny, insecure=insecure, number=number) as phone:
        accounts = _accounts(phone, user, server)
        receiver = PushReceiver(phone)
        if endpoint is not None:
            (account,) = _only_one(accounts)
            subscription = receiver.subscribe(account, lambda _: endpoint)
            if _caught_up(phone, [account], as_json=as_json) and once:
                return
            _say_listening([account], endpoint, None, as_json=as_json)
            _follow_all(receiver, _lines(receiver, subscription), once=once, as_json=as_json)
            return
        hosts = tuple(filter(None, [urlsplit(public_url or "").hostname]))
        tls, ca = _tls(home, tls_cert, tls_key, insecure=insecure, hosts=hosts)
        queue = PushQueue()
        service = PushService(queue, refused=note)
        with PushListener(service, host=host, port=port, tls=tls) as listener:
            base = (public_url or f"{'https' if tls else 'http'}://{_name_of(host)}:{listener.port}").rstrip("/")
            subscribed = _subscribe(receiver, accounts, base)
            service.watch(subscribed, audience=_origin(base))
            with _interruptible():
                if _caught_up(phone, [one.account for one in subscribed], as_json=as_json) and once:
                    return
                _say_listening([one.account for one in subscribed], base, ca, as_json=as_json)
                _follow_all(receiver, queue.get, once=once, as_json=as_json)


def _caught_up(phone: Phone, accounts: list[Account], *, as_json: bool) -> bool:
    """Carry out what was missed while nobody listened, and tell whether there was anything."""
    done = catch_up(phone, accounts)
    for result in done:
        print_result(result, as_json=as_json)
    sys.stdout.flush()
    return bool(done)


def _accounts(phone: Phone, user: str | None, server: str | None) -> list[Account]:
    """Return the accounts to be pushed to. Raises NoDispatchTargetError."""
    found = [account_of(phone, user, server)] if user else phone.targets.accounts()
    if not found:
        raise NoDispatchTargetError("no account on this phone has a dispatch target: enrol first")
    return found


def _only_one(accounts: list[Account]) -> list[Account]:
    if len(accounts) > 1:
        raise typer.BadParameter("an endpoint is of one account: name it by --user", param_hint="--endpoint")
    return accounts


def _tls(
    home: Path | None, certificate: Path | None, key: Path | None, *, insecure: bool, hosts: tuple[str, ...]
) -> tuple[tuple[Path, Path] | None, Path | None]:
    """Return what the listener shows, None for plain http, and the lab CA's certificate where that vouches for it.

    That vouches for `hosts` beside this machine's own names.
    """
    from fidoloop.server.tls import ensure_lab_tls

    if certificate is not None and key is not None:
        return (certificate, key), None
    if insecure:
        return None, None
    lab = ensure_lab_tls(home_directory(home) / "tls", hosts=hosts, name="phone")
    return (lab.certificate, lab.key), lab.ca


def _name_of(host: str) -> str:
    """Return what the server calls the address that is listened on: the certificate of the lab CA is for localhost."""
    return "localhost" if host in (*_LOOPBACK, "0.0.0.0", "::") else host  # noqa: S104 - compared, not bound


def _origin(base: str) -> str:
    found = origin(base)
    if found is None:
        raise typer.BadParameter("not an http(s) URL", param_hint="--public-url")
    return found


def _subscribe(receiver: PushReceiver, accounts: list[Account], base: str) -> list[PushSubscription]:
    """Have every account be pushed to that can be. Raises the last error where none can."""
    subscribed, failure = [], None
    for account in accounts:
        try:
            subscribed.append(receiver.subscribe(account, lambda one: f"{base}{PATH}{one.path}"))
        except BridgeError as error:
            note(f"{account.username} at {account.base_url} is not pushed to: {error}")
            failure = error
    if failure is not None and not subscribed:
        raise failure
    return subscribed


def _say_listening(accounts: list[Account], base: str, ca: Path | None, *, as_json: bool) -> None:
    who = [{"server": account.base_url, "username": account.username} for account in accounts]
    trust = f" (CA certificate: {ca})" if ca else ""
    names = ", ".join(f"{account.username} at {account.base_url}" for account in accounts)
    value = {"listening": base, "ca": str(ca) if ca else None, "accounts": who}
    show(value, f"listening at {cell(base)}{trust} for {cell(names)}", as_json=as_json)
    sys.stdout.flush()


def _lines(receiver: PushReceiver, subscription: PushSubscription) -> Next:
    """Return what reads a distributor's messages to the end of standard input; what is none is said and left out."""

    def read() -> PushMessage | None:
        for line in iter(lambda: sys.stdin.readline(MAX_LINE + 2), ""):
            if not line.strip():
                continue
            try:
                return receiver.from_distributor(subscription, line)
            except BridgeError as error:
                note(f"push refused: {error}")
        return None

    return read


def _follow_all(receiver: PushReceiver, next_message: Next, *, once: bool, as_json: bool) -> None:
    """Follow messages until there are no more, or one with `once`, which raises where that fails."""
    while (message := next_message()) is not None:
        try:
            print_result(receiver.follow(message), as_json=as_json)
        except (BridgeError, KeyStoreError, AsmError) as error:
            if once:
                raise
            note(f"push not followed: {error}")
        sys.stdout.flush()
        if once:
            return


@contextmanager
def _interruptible() -> Iterator[None]:
    """End well by SIGINT and SIGTERM: whoever stops listening has not failed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        note("not listening any more")
    finally:
        signal.signal(signal.SIGTERM, before)
