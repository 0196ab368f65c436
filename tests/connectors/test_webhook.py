"""The generic webhook: any verifier as configuration, and events that become records of any stream."""

from dataclasses import fields, is_dataclass
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from connectors import (
    Capture,
    Challenge,
    ContractError,
    Delete,
    Echo,
    Event,
    InBody,
    InHeader,
    InQuery,
    InSignature,
    Jwt,
    Method,
    Pairs,
    Ping,
    Prefix,
    Upsert,
    Versions,
    iso,
)
from connectors.webhook import FORMS, KINDS, PLACES, connector, verifier
from sync import receive
from sync.connecting import apply, checked
from sync.declared import DeclarationError, Declared
from sync.store import arrivals, connections, inboxes
from sync.store.arrivals import Arrival
from sync.store.database import read, write
from tests.sync.verifiers import VERIFIERS

ORDERS = {"events": ["order.*"], "deleted": ["order.deleted"], "record": "data", "version": {"updated_at": "iso"}}
CONFIG: dict[str, Any] = {"verify": "standard_webhooks", "streams": {"orders": ORDERS}}
AT = iso("updated_at").instant("2026-03-01T00:00:00Z")
WORDS = {kind: name for name, kind in {**PLACES, **FORMS}.items()}


def configured(**changes: Any) -> Any:
    found = connector.webhook_for({**CONFIG, **changes})
    assert found
    return found


def streamed(**changes: Any) -> dict[str, Any]:
    return {"streams": {"orders": {**ORDERS, **changes}}}


def meaning(event: dict[str, Any], **changes: Any) -> list[Any]:
    return list(configured(**changes).effects(Event(event, str(event.get("type", "")))))


# --- how it is believed


def settings_of(one: Any) -> Any:
    """A verifier of the vocabulary as a person would write it."""
    if isinstance(one, InHeader | InBody | InQuery | InSignature | Prefix | Pairs | Versions | Method):
        (said,) = (getattr(one, field.name) for field in fields(one))
        return {WORDS[type(one)]: list(said) if isinstance(said, tuple) else said}
    if is_dataclass(one):
        given = {each.name: getattr(one, each.name) for each in fields(one) if getattr(one, each.name) != each.default}
        return {name: dict(value) if name == "claims" else settings_of(value) for name, value in given.items()}
    return one


SPELLED = {name: one for name, one in VERIFIERS.items() if isinstance(getattr(one, "signed", ""), str)}
SPELLED["jwt"] = Jwt(algorithm="RS256", claims=(("iss", "acme"),), body_hash="sha", secret="webhook_public_key")


@pytest.mark.parametrize("name", SPELLED)
def test_every_verifier_can_be_written_as_configuration(name: str) -> None:
    """As JSON, there and back."""
    kind = next(word for word, kind in KINDS.items() if kind is type(SPELLED[name]))
    written = msgspec.json.decode(msgspec.json.encode({"kind": kind, **settings_of(SPELLED[name])}))
    assert verifier(written) == SPELLED[name]


@pytest.mark.parametrize("name", ["standard_webhooks", "svix"])
def test_a_scheme_may_be_named(name: str) -> None:
    """What many vendors use needs no settings."""
    assert verifier(name) == VERIFIERS[f"{name}_v1"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (None, "option verify: give a kind, one of ecdsa_p256"),
        ("md5", "or one of standard_webhooks, svix"),
        ({"kind": "fetch_back"}, "option verify: give a kind"),
        ({"kind": ["hmac"]}, "option verify: give a kind"),
        ({"kind": "hmac"}, "option verify: .*signature"),
        ({"kind": "hmac", "signature": {"header": "X"}, "salt": "y"}, r"option verify\.salt: there is no such setting"),
        ({"kind": "hmac", "signature": {"cookie": "X"}}, r"option verify\.signature: .* is none of"),
        ({"kind": "hmac", "signature": {"header": "X"}, "form": "raw"}, r"option verify\.form"),
        ({"kind": "hmac", "signature": {"header": "X"}, "window": 300}, r"option verify\.window: 300 is no mapping"),
        ({"kind": "hmac", "signature": {"header": "X"}, "encoding": "rot13"}, "encoding is one of hex, base64"),
        ({"kind": "hmac", "signature": {"header": "X"}, "signed": "{timestamp}"}, "nothing says what {timestamp}"),
        ({"kind": "hmac", "signature": {"header": "X"}, "window": {"at": {"header": "T"}, "zone": 1}},
         r"option verify\.window\.zone"),
    ],
)  # fmt: skip
def test_a_verifier_that_makes_no_sense_names_the_setting(settings: Any, sentence: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ContractError, match=sentence):
        connector.webhook_for({**CONFIG, "verify": settings})


def test_handshakes_are_configured() -> None:
    """Each as its vendor has it."""
    given = [
        {"echo": "challenge", "when": {"type": "url_verification"}},
        {"echo": "challenge"},
        {"challenge": "hub.challenge", "token": "hub.verify_token", "secret": "verify_token"},
        {"capture": "verification_token"},
        {"ping": {"header": "X-Event"}, "equals": "ping"},
    ]
    found = configured(handshakes=given)
    assert found.handshakes == (
        Echo("challenge", ("type", "url_verification")),
        Echo("challenge"),
        Challenge(echo="hub.challenge", token="hub.verify_token", secret="verify_token"),
        Capture("verification_token"),
        Ping(InHeader("X-Event"), "ping"),
    )
    assert found.secrets == ("webhook_secret", "verify_token")
    with pytest.raises(ContractError, match=r"option handshakes\.0"):
        configured(handshakes=[{"wave": "hello"}])


# --- what is in it


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"streams": {}}, "option streams: name what is delivered"),
        ({"streams": {"orders": "all"}}, r"option streams\.orders"),
        (streamed(keys="id"), r"option streams\.orders\.keys: there is no such setting"),
        (streamed(key=[]), r"option streams\.orders\.key"),
        (streamed(version={"updated_at": "text"}), r"option streams\.orders\.version"),
        (streamed(version="updated_at"), r"option streams\.orders\.version"),
        (streamed(columns={"total": "money"}), r"option streams\.orders\.columns"),
        (streamed(events="", deleted=[1]), r"option streams\.orders\.(events|deleted)"),
        ({"at": {"seq": "integer"}}, "option at"),
        ({"at": "created"}, "option at"),
        ({"name": {"cookie": "x"}}, "option name"),
        ({"delivery": [{"query": "id"}]}, "no place of a name or an id"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes: dict[str, Any], sentence: str) -> None:
    """Whoever writes them sees which."""
    with pytest.raises(ContractError, match=sentence):
        configured(**changes)


def test_streams_have_what_was_configured() -> None:
    """And can't be pulled."""
    config = {**CONFIG, **streamed(columns={"total": "number", "ship.to": "text"}, flag={"status": "gone"})}
    (orders,) = connector.streams_for(config)
    assert not orders.pulled
    assert (orders.key, orders.version) == ("id", iso("updated_at"))
    assert [column.name for column in orders.columns] == ["total", "ship_to"]
    assert [(flag.path, flag.value) for flag in orders.flags] == [("status", "gone")]
    (both,) = connector.streams_for({**CONFIG, **streamed(key=["site", "id"])})
    assert both.key == ("site", "id")


ROW = {"id": 7, "updated_at": "2026-03-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("event", "changes", "expected"),
    [
        ({"type": "order.paid", "data": ROW}, {}, [Upsert("orders", ROW, 0)]),
        ({"type": "order.paid", "data": ROW, "created": 5}, {"at": {"created": "epoch"}},
         [Upsert("orders", ROW, 5_000_000)]),
        ({"type": "order.deleted", "data": ROW}, {}, [Delete("orders", "7", AT)]),
        ({"type": "order.deleted", "data": {"id": 7}, "created": 5}, {"at": {"created": "epoch"}},
         [Delete("orders", "7", 5_000_000)]),
        ({"type": "order.deleted", "data": {"id": 7}, "created": 5},
         {"at": {"created": "epoch"}, "streams": {"orders": {"deleted": "order.deleted", "record": "data"}}},
         [Delete("orders", "7", 5_000_000)]),
        ({"type": "order.deleted", "data": {"id": "a/b", "site": "x"}},
         streamed(key=["site", "id"], version={"seq": "integer"}) | {"data": 1}, ContractError),
        ({"type": "order.deleted", "data": {"id": "a/b", "site": "x%", "seq": 3}},
         streamed(key=["site", "id"], version={"seq": "integer"}), [Delete("orders", "x%25/a%2Fb", 3)]),
        ({"type": "invoice.paid", "data": ROW}, {}, []),
        ({"type": "order.paid"}, {}, ContractError),
        ({"type": "order.paid", "data": []}, {}, ContractError),
        ({"type": "order.deleted", "data": {"updated_at": "2026-03-01T00:00:00Z"}}, {}, ContractError),
        ({"type": "order.deleted", "data": {"id": 7}}, {}, ContractError),
        ({"type": "order.paid", "data": ROW}, {"at": {"created": "epoch"}}, ContractError),
    ],
)  # fmt: skip
def test_event(event: dict[str, Any], changes: dict[str, Any], expected: Any) -> None:
    """What can't be read is told, never guessed."""
    if expected is ContractError:
        with pytest.raises(ContractError):
            meaning(event, **changes)
    else:
        assert meaning(event, **changes) == expected


def test_an_event_without_a_name_is_the_record() -> None:
    """Where nothing is said of names, all events tell."""
    assert meaning({"id": 1, "a": 2}, streams={"things": {}}) == [Upsert("things", {"id": 1, "a": 2}, 0)]


# --- from the configuration to the record


@pytest.fixture
def account(sqlite_world) -> int:
    """Connected as a person would."""
    config = {**CONFIG, "name": {"body": "type"}, "streams": {
        "orders": {**ORDERS, "columns": {"total": "number"}}, "notes": {"events": ["note.*"], "deleted": "note.gone",
                                                                        "record": "data"}}}  # fmt: skip
    wanted = Declared(name="shop", connector="webhook", options=config, secrets={"webhook_secret": "whsec_eA=="})
    apply(checked(wanted))
    with read() as connection:
        return int(connections.by_name(connection, "shop").id)


def deliver(account: int, *events: dict[str, Any]) -> None:
    with write() as connection:
        inboxes.ensure(connection, account)
        ones = [Arrival(account, uuid4().hex, "{}", msgspec.json.encode(event), uuid4().hex) for event in events]
        arrivals.store(connection, ones)
    receive.drain(account)


def order(day: int, total: int) -> dict[str, Any]:
    return {"type": "order.paid", "data": {"id": 7, "updated_at": f"2026-03-{day:02}T00:00:00Z", "total": total}}


def test_the_newest_version_stays_whatever_comes_later(sqlite_world, account: int) -> None:
    """And a deletion is final for what was before it."""
    deliver(account, order(2, 20), order(1, 10))
    assert [row["total"] for row in sqlite_world.rows("webhook_orders")] == [20]
    deliver(account, {"type": "order.deleted", "data": {"id": 7, "updated_at": "2026-03-02T00:00:00Z"}}, order(1, 10))
    (row,) = sqlite_world.rows("webhook_orders")
    assert row["deleted_at"] is not None
    deliver(account, order(3, 30))
    assert sqlite_world.rows("webhook_orders")[0]["deleted_at"] is None


def test_without_versions_the_last_to_arrive_stays(sqlite_world, account: int) -> None:
    """There is nothing else to go by."""
    deliver(account, {"type": "note.made", "data": {"id": "n", "text": "one"}})
    deliver(account, {"type": "note.made", "data": {"id": "n", "text": "two"}})
    assert '"two"' in str(sqlite_world.rows("webhook_notes")[0]["payload"])
    deliver(account, {"type": "note.gone", "data": {"id": "n"}})
    assert sqlite_world.rows("webhook_notes")[0]["deleted_at"] is not None


def test_what_can_not_be_read_is_a_dead_letter_with_the_place(sqlite_world, account: int) -> None:
    """And stops no other."""
    deliver(account, {"type": "order.paid", "data": "none"}, order(1, 10))
    states = {row["state"]: row["reason"] for row in sqlite_world.rows("deliveries")}
    assert states.keys() == {"dead", "applied"}
    assert "there is no record at $.data" in states["dead"]


def test_a_configuration_that_makes_no_sense_is_not_connected(sqlite_world) -> None:
    """The file's line is named by whoever reads it."""
    wanted = Declared(name="shop", connector="webhook", options={**CONFIG, "verify": {"kind": "md5"}})
    with pytest.raises(DeclarationError, match="shop: option verify"):
        checked(wanted)
