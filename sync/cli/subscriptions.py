"""`tidelock webhooks sync`, `rotate`, `remove` and `secret`: what vendors are asked to deliver, and what signs it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer
from sqlalchemy import Row
from typer import Argument, Option

from connectors import ContractError, TidelockError, Webhook, seconds
from sync.cli.exits import BAD_INPUT
from sync.cli.output import Form, Output, emit, say, table
from sync.registry import load
from sync.settings import environment
from sync.store import connections, inboxes, subscriptions
from sync.store.database import read, write
from sync.store.migrations import require
from sync.subscriber import Done, url_of
from sync.subscribing import remove, rotate, sync

_COLUMNS = ("connection", "done", "why", "id", "url", "removed", "runs")

Name = Annotated[str, Argument(help="The connection.")]
Keep = Annotated[str, Option(help='How long the old secret stays valid: "24 hours".')]
Yes = Annotated[bool, Option("--yes", help="Don't ask.")]


def sync_(
    name: Annotated[str | None, Argument(help="The connection; all that can be subscribed if left out.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    output: Output = Form.TABLE,
) -> None:
    """Make the vendor deliver what is wanted, to TIDELOCK_PUBLIC_URL/webhooks/NAME. Again, it changes nothing.

    Subscriptions that deliver to other addresses are never touched.
    """
    require()
    accounts, rows, failures = [_account(name)] if name else list(_subscribable()), [], []
    for account in accounts:
        try:
            rows.append(_row(account, sync(account, dry_run=dry_run)))
        except TidelockError as error:
            rows.append({"connection": account.name, "done": "failing", "why": str(error)})
            failures.append(error)
    table(output, rows, _COLUMNS, "No connection has a webhook that can be subscribed to.")
    for failure in failures:
        raise failure


def rotate_(name: Name, keep: Keep = "24 hours", output: Output = Form.TABLE) -> None:
    """Change the secret that signs deliveries; the old one stays valid for a while beside it."""
    require()
    _told(output, _account(name), lambda account: rotate(account, timedelta(seconds=seconds(keep))))


def remove_(name: Name, yes: Yes = False, output: Output = Form.TABLE) -> None:
    """End the subscriptions that deliver to this connection. Its secret stays, for what is still on its way."""
    require()
    account = _account(name)
    if not yes and not typer.confirm(f"Have nothing more delivered to {url_of(account)}?", err=True):
        say("Nothing was changed.")
        raise typer.Exit(BAD_INPUT)
    _told(output, account, remove)


def secret(
    name: Name,
    secret: Annotated[str | None, Option("--secret", help="Which, where the webhook has several.")] = None,
    from_env: Annotated[str | None, Option(help="The variable that holds it; else it is asked for.")] = None,
    keep: Keep = "24 hours",
    output: Output = Form.TABLE,
) -> None:
    """Set the secret that signs deliveries, as the vendor shows it; the one before stays valid for a while.

    Where the secret is ours to choose and the vendor has a subscription, the vendor is given it.
    """
    require()
    account = _account(name)
    webhook = _webhook(account)
    which = _which(webhook, secret, account.connector)
    value, lasting = _value(account, which, from_env), timedelta(seconds=seconds(keep))
    if _brings(account, webhook, which):
        _told(output, account, lambda it: rotate(it, lasting, value=value))
        return
    with write() as connection:
        inboxes.set_secret(connection, account.id, which, value, lasting)
    emit(output, {"connection": name, "secret": which, "done": "set"})
    if output is Form.TABLE:
        say(f"{which} of {name} is set.")


def _account(name: str) -> Row[Any]:
    with read() as connection:
        return connections.by_name(connection, name)


def _subscribable() -> Iterator[Row[Any]]:
    """All that the vendor can be asked for, but for those that a person paused."""
    with read() as connection:
        accounts = connections.every(connection)
    for account in accounts:
        webhook = load(account.connector).webhook_for(account.config)
        if webhook and webhook.subscriptions and account.state != "paused":
            yield account


def _webhook(account: Row[Any]) -> Webhook:
    webhook = load(account.connector).webhook_for(account.config)
    if webhook is None:
        raise ContractError(f"the connector {account.connector} has no webhook")
    return webhook


def _which(webhook: Webhook, given: str | None, connector: str) -> str:
    known = webhook.secrets
    if not known:
        raise ContractError(f"deliveries of {connector} are not signed: there is no secret to set")
    if given is None and len(known) > 1:
        raise ContractError(f"say which with --secret: {', '.join(known)}")
    if given is not None and given not in known:
        raise ContractError(f"{connector}'s webhook has no secret {given!r}; there is {', '.join(known)}")
    return given or known[0]


def _value(account: Row[Any], which: str, variable: str | None) -> str:
    if variable is None:
        return str(typer.prompt(f"{account.name} {which}", hide_input=True, err=True))
    found = environment().get(variable)
    if not found:
        raise ContractError(f"--from-env: the environment variable {variable} is not set")
    return found


def _brings(account: Row[Any], webhook: Webhook, which: str) -> bool:
    """Whether the vendor has a subscription that it signs with a secret of ours, this one."""
    with read() as connection:
        subscribed = bool(subscriptions.of(connection, account.id))
    ours = webhook.subscriptions is not None and webhook.subscriptions.chooses
    return subscribed and ours and which in webhook.verify.secrets


def _told(output: Form, account: Row[Any], act: Callable[[Row[Any]], Done]) -> None:
    done = act(account)
    table(output, [_row(account, done)], _COLUMNS, "")


def _row(account: Row[Any], done: Done) -> dict[str, Any]:
    told = asdict(done)
    return {"connection": account.name, "done": told.pop("act"), **told}
