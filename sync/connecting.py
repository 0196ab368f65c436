"""Connecting: a connection as somebody wants it is held against its connector, then made so."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from sqlalchemy import Connection, Row, select

from connectors import Connector, ContractError, Json, Option, Stream
from sync.declared import DeclarationError, Declared
from sync.lists import selection
from sync.registry import load
from sync.rules import Rule
from sync.store import connections, credentials, inboxes, schema
from sync.store.database import engine, now, read, write

ROTATED = ("refresh_token",)  # the vendor changes it; that the stored one differs is no news unless it was refused
KEPT = timedelta(days=1)  # how long a webhook's secret stays valid beside the one that replaces it
_IN_WORDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def checked(wanted: Declared) -> Declared:
    """The declaration with its options as the connector means them; DeclarationError names what doesn't fit."""
    connector = load(wanted.connector)
    options = _options(wanted, connector)
    fitted = replace(wanted, options=options)
    _secrets(fitted, connector)
    if not (wanted.owner or connector.owner):
        raise _error(wanted, "owner is missing: name the team that is told of failures (--owner, owner:)")
    try:
        known = selected(fitted)
    except ContractError as error:
        raise _error(wanted, str(error)) from error
    _rules(wanted, [stream.name for stream in known])
    return fitted


def selected(wanted: Declared) -> tuple[Stream, ...]:
    """The streams that the connection is to sync; ContractError where they don't make sense together."""
    return selection(load(wanted.connector), wanted.options, wanted.streams)


def _error(wanted: Declared, sentence: str) -> DeclarationError:
    return DeclarationError(f"{wanted.where or wanted.name}: {sentence}")


def _options(wanted: Declared, connector: Connector) -> dict[str, Json]:
    _known(wanted, "option", wanted.options, connector.options)
    for name, option in connector.options.items():
        if option.required and wanted.options.get(name) in (None, ""):
            raise _error(wanted, f"the option {name} is missing: {option.help} (--option {name}=...)")
    return {name: _fitted(wanted, name, connector.options[name], value) for name, value in wanted.options.items()}


def _fitted(wanted: Declared, name: str, option: Option, value: Json) -> Json:
    """The value as the type of the default, where the command line could only give a text."""
    kind = type(option.default)
    if isinstance(value, str) and value[:1] in ("{", "["):
        value = _json(wanted, name, value)
    if isinstance(value, str) and kind in _IN_WORDS:
        try:
            value = msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            raise _error(wanted, f"the option {name} is {value!r}, and should be {_IN_WORDS[kind]}") from error
    if option.choices and value not in option.choices:
        choices = ", ".join(map(str, option.choices))
        raise _error(wanted, f"the option {name} is {value!r}, and should be one of {choices}")
    return value


def _json(wanted: Declared, name: str, text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise _error(wanted, f"the option {name} begins like JSON, and is none: {error}") from error


def _secrets(wanted: Declared, connector: Connector) -> None:
    """Those of the credential must be there; those of the webhook may come later, and from the vendor."""
    _known(wanted, "secret", wanted.secrets, dict.fromkeys((*connector.auth.secrets, *_hooked(wanted))))
    missing = [name for name in connector.auth.secrets if not wanted.secrets.get(name)]
    if missing:
        raise _error(wanted, f"the secret {missing[0]} is missing (--secret {missing[0]}=env:NAME)")


def _hooked(wanted: Declared) -> tuple[str, ...]:
    """The names of the secrets that belong into the inbox."""
    try:
        webhook = load(wanted.connector).webhook_for(wanted.options)
    except ContractError as error:
        raise _error(wanted, str(error)) from error
    return webhook.secrets if webhook else ()


def _credential(wanted: Declared) -> dict[str, str]:
    names = load(wanted.connector).auth.secrets
    return {name: value for name, value in wanted.secrets.items() if name in names}


def _known(wanted: Declared, what: str, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known) or sorted(known)
            there = f"there is {', '.join(near)}" if near else "there are none"
            raise _error(wanted, f"{wanted.connector} has no {what} {name!r}; {there}")


def _rules(wanted: Declared, known: list[str]) -> None:
    try:
        ZoneInfo(wanted.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise _error(wanted, f"there is no time zone {wanted.zone!r}") from error
    for stream, text in wanted.schedules.items():
        if stream and stream not in known:
            raise _error(wanted, f"there is no stream {stream!r}; there are {', '.join(known)}")
        Rule(text, wanted.zone, wanted.jitter)


def compare(wanted: Declared) -> tuple[str, list[str]]:
    """("created" | "changed" | "unchanged", the names of what differs) if this declaration were applied."""
    with read() as connection:
        found = connections.find(connection, wanted.name)
        if found is None:
            return "created", []
        schedules = connections.schedules(connection, found.id)
    differs = [name for name, value in _columns(wanted).items() if _plain(getattr(found, name)) != _plain(value)]
    if _rules_of(schedules) != _rules_wanted(wanted):
        differs.append("schedule")
    if found.connector == wanted.connector and not _same_secrets(wanted, found):
        differs.append("secrets")
    if found.connector == wanted.connector and not _same_inbox(wanted, found.id):
        differs.append("webhook secrets")
    return ("changed" if differs else "unchanged"), differs


def apply(wanted: Declared, *, state: str = "active", reason: str | None = None) -> tuple[str, list[str]]:
    """Make it so, in one transaction; what `compare` says. A connection can't change its connector.

    `state` and `reason` are those of a new connection.
    """
    said, differs = compare(wanted)
    if "connector" in differs:
        raise _error(wanted, "a connection can't change its connector: disconnect it, or take another name")
    if said == "unchanged":
        return said, differs
    schema.apply(engine(), [(wanted.connector, stream) for stream in selected(wanted)])
    with write() as connection:
        found = connections.find(connection, wanted.name)
        if found is None:
            account = _create(connection, wanted, state, reason)
        else:
            account = _change(connection, found, wanted, differs)
        if found is None or "schedule" in differs:
            _schedule(connection, account, wanted)
    return said, differs


def _columns(wanted: Declared) -> dict[str, Any]:
    return {
        "connector": wanted.connector,
        "config": dict(wanted.options),
        "owner": wanted.owner,
        "streams": wanted.streams and list(wanted.streams),
        "parallel": wanted.parallel or load(wanted.connector).parallel,
        "objective": wanted.objective,
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _rules_of(schedules: Mapping[str, Row[Any]]) -> dict[str, tuple[str, str, float]]:
    return {stream: (row.rule, row.zone, row.jitter) for stream, row in schedules.items()}


def _rules_wanted(wanted: Declared) -> dict[str, tuple[str, str, float]]:
    return {stream: (rule, wanted.zone, wanted.jitter) for stream, rule in wanted.schedules.items()}


def _same_secrets(wanted: Declared, found: Row[Any]) -> bool:
    """Whether what a person gives now is what stands there; tokens that the engine got since are not compared."""
    given = _credential(wanted)
    if found.credential_id is None:
        return not given
    kept = credentials.load(found.credential_id)
    return all(kept.secrets.get(name) == value for name, value in given.items()
               if name not in ROTATED or kept.refused)  # fmt: skip


def _same_inbox(wanted: Declared, account: int) -> bool:
    """Whether the webhook's secrets that a person gives now are those that are valid; what isn't given stays."""
    with read() as connection:
        held = inboxes.secrets_of(connection, account)
    return all(held.get(name, ())[:1] == (wanted.secrets[name],) for name in _hooked(wanted) if name in wanted.secrets)


def _create(connection: Connection, wanted: Declared, state: str, reason: str | None) -> int:
    given = _credential(wanted)
    credential = credentials.create(connection, wanted.connector, given) if given else None
    account = connections.create(
        connection, name=wanted.name, credential_id=credential, state=state, reason=reason, **_columns(wanted)
    )
    _set_inbox(connection, account, wanted)
    return account


def _change(connection: Connection, found: Row[Any], wanted: Declared, differs: list[str]) -> int:
    connections.change(connection, found.id, **_columns(wanted))
    if "secrets" in differs:
        if found.credential_id is None:
            credential = credentials.create(connection, wanted.connector, _credential(wanted))
            connections.change(connection, found.id, credential_id=credential)
        else:
            credentials.replace(connection, found.credential_id, _credential(wanted))
    _set_inbox(connection, found.id, wanted)
    return int(found.id)


def _set_inbox(connection: Connection, account: int, wanted: Declared) -> None:
    for name in _hooked(wanted):
        if name in wanted.secrets:
            inboxes.set_secret(connection, account, name, wanted.secrets[name], KEPT)


def _schedule(connection: Connection, account: int, wanted: Declared) -> None:
    """Set what is wanted, take away the rest. An interval begins at once, cron at its next hour."""
    clock: datetime = connection.execute(select(now())).scalar_one()
    held = connections.schedules(connection, account)
    connections.drop_schedules(connection, account, set(held) - set(wanted.schedules))
    for stream, text in wanted.schedules.items():
        rule = Rule(text, wanted.zone, wanted.jitter)
        due = clock if rule.interval is not None and stream not in held else rule.after(clock)
        connections.set_schedule(
            connection, account, stream, rule=text, zone=wanted.zone, jitter=wanted.jitter, next_due_at=due
        )
