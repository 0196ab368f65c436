"""Bad input on the way of a pull: a sentence names what to change, nothing is lost, and the neighbours land."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select
from structlog.testing import CapturingLogger

from connectors import boolean, integer, text
from models import Reject, Schedule
from sync import schedule
from sync.app import app as usual
from sync.app import create
from sync.kit.vendor import Answer, Fault, Request, cursor
from sync.pull import send
from sync.settings import settings
from sync.states import State
from sync.store import identity, letters
from sync.store.database import now, read, write
from tests.traps.rig import NAME, Rig, listed, notes, rigged, stream

COLUMNS = (text("text"), integer("size"), boolean("done"))


@pytest.fixture
def rig(world, monkeypatch):
    """25 notes, ten a page."""
    with rigged(world, monkeypatch, notes(), stream(listed(), columns=COLUMNS)) as made:
        made.make(25, size=1)
        made.vendor.clock.advance(60)
        yield made


def spoilt(rig: Rig, key: int, change: Callable[[dict[str, Any]], Any]) -> None:
    """The vendor shows one row otherwise than it should: `change` returns what stands in its place."""

    def answer(request: Request, made: Answer) -> Answer:
        if request.path == "/v1/notes" and made.status == 200:
            page = json.loads(made.body)
            page["data"] = [change(row) if row["id"] == key else row for row in page["data"]]
            page["data"] = [one for row in page["data"] for one in (row if isinstance(row, list) else [row])]
            made.body = json.dumps(page).encode()
        return made

    rig.rewrite(answer)


def rejects() -> list[Any]:
    with read() as connection:
        return list(connection.execute(select(Reject.__table__)))


def replayed(rig: Rig) -> None:
    """A person sets the dead slices going again."""
    with write() as connection:
        letters.release(connection, letters.slices(connection, state=State.DEAD))
    rig.until_settled(2)


def test_a_page_that_is_not_json(rig):
    """The page is asked for again: the reason says what came, and all records land later."""
    rig.vendor.faults.set([Fault(kind="html", path="/v1/notes", nth=(2,))])
    rig.sync()
    (unit,) = rig.slices()
    assert unit["state"] == "deferred"
    assert "is not a JSON object" in unit["reason"]
    assert f"{rig.url}/v1/notes" in unit["reason"]
    assert len(rig.held()) == 10
    rig.until_settled(2)
    assert rig.held() == rig.truth()


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        (lambda row: {name: value for name, value in row.items() if name != "id"}, "$.id", "there is no key"),
        (lambda row: {**row, "id": None}, "$.id", "there is no key"),
        (lambda row: {**row, "id": ""}, "$.id", "the key is empty"),
        (lambda row: {**row, "id": 1.5}, "$.id", "got `float`"),
        (lambda row: {**row, "id": "a\0b"}, "$.id", "the key has the character U+0000"),
        (lambda row: {**row, "id": "x" * 513}, "$.id", "the key has 513 characters; 512 are possible"),
        (lambda row: {**row, "updated_at": None}, "$.updated_at", "the cursor is missing"),
        (lambda row: {**row, "updated_at": "soon"}, "$.updated_at", "the cursor 'soon' is no iso"),
        (lambda row: "no object", "$", "no record, but a text: no object"),
    ],
    ids=["absent", "null", "empty", "number", "NUL", "long", "no time", "other time", "no object"],
)
def test_a_record_that_cannot_be_stored(rig, change, path, reason):
    """It is kept with its bytes, its path and a sentence; its neighbours land, and the sync is done."""
    spoilt(rig, 5, change)
    (run,) = rig.sync()
    assert run["state"] == "done"
    (reject,) = rejects()
    assert (reject.stream, reject.state) == ("notes", "dead")
    assert reason in reject.reason
    assert reject.path == path
    assert json.loads(reject.payload) == change(rig.truth()["5"])
    assert rig.held() == {key: row for key, row in rig.truth().items() if key != "5"}


def test_a_record_that_came_right_needs_nobody(rig):
    """A later version that can be stored closes the dead letter of its key; one without a key stays."""
    spoilt(rig, 5, lambda row: {**row, "updated_at": "soon"} if row["text"] != "mended" else row)
    spoilt(rig, 6, lambda row: {name: value for name, value in row.items() if name != "id"})
    rig.sync()
    rig.vendor.update("notes", 5, {"text": "mended"})
    rig.sync()
    assert {row.key: row.state for row in rejects()} == {"5": "overtaken", "": "dead"}


def test_a_bad_record_that_is_there_no_more_needs_nobody(rig):
    """A pass over the whole list that doesn't show it again closes its dead letter; one that does, doesn't."""
    spoilt(rig, 5, lambda row: {**row, "id": ""})
    rig.sync()
    rig.sync(full=True)
    assert [row.state for row in rejects()] == ["dead"]
    rig.vendor.delete("notes", 5)
    rig.sync(full=True)
    assert [row.state for row in rejects()] == ["overtaken"]


def test_the_same_key_twice_in_a_page(rig):
    """The newer of the two is stored, whichever comes first; the other is counted."""
    late = "2026-03-01T12:00:30.000000Z"
    spoilt(rig, 5, lambda row: [{**row, "text": "newer", "updated_at": late}, row])
    rig.sync()
    assert rig.held()["5"] == {**rig.truth()["5"], "text": "newer", "updated_at": late}
    assert len(rig.held()) == 25
    assert not rejects()
    (unit,) = rig.slices()
    assert decoded(unit["counts"])["repeated"] == 1


def test_nul_in_a_text(rig):
    """No database keeps U+0000 in a text: the column goes without it, the payload keeps it, the row lands."""
    spoilt(rig, 5, lambda row: {**row, "text": "before\0after"})
    (run,) = rig.sync()
    assert run["state"] == "done"
    assert rig.held() == {**rig.truth(), "5": {**rig.truth()["5"], "text": "before\0after"}}
    (row,) = rig.world.rows(f"{NAME}_notes", "key = '5'")
    assert row["text"] == "beforeafter"


@pytest.mark.parametrize("value", ["twelve", 2**70, [1], {"of": 1}, 1.5, True], ids=str)
def test_a_wrong_type_in_a_declared_column(rig, value):
    """The column is empty, the payload is whole, and the field is reported as drifted."""
    spoilt(rig, 5, lambda row: {**row, "size": value})
    (run,) = rig.sync()
    assert run["state"] == "done"
    assert rig.held()["5"]["size"] == value
    assert len(rig.held()) == 25
    sizes = {row["key"]: row["size"] for row in rig.world.rows(f"{NAME}_notes")}
    assert sizes == {**dict.fromkeys(sizes, 1), "5": None}
    assert any(row["path"] == "size" and "integer expected" in row["detail"] for row in rig.world.rows("drift"))


def test_a_value_that_is_too_large(rig, monkeypatch):
    """A record above the limit is kept aside with its bytes; its neighbours land."""
    monkeypatch.setattr(identity, "MAX_RECORD", 2000)
    spoilt(rig, 5, lambda row: {**row, "text": "x" * 3000})
    (run,) = rig.sync()
    assert run["state"] == "done"
    (reject,) = rejects()
    assert "bytes; 2000 are possible" in reject.reason
    assert json.loads(reject.payload)["text"] == "x" * 3000
    assert len(rig.held()) == 24


def test_an_answer_that_is_too_large(rig, monkeypatch):
    """The slice waits for a person, and names the setting; set going again with a higher one, everything lands."""
    monkeypatch.setenv("TIDELOCK_MAX_BODY", "20000")
    settings.cache_clear()
    rig.vendor.faults.set([Fault(kind="oversized", path="/v1/notes", nth=(2,), size=50_000)])
    (run,) = rig.sync()
    assert run["state"] == "failed"
    assert "ask for smaller pages, or raise TIDELOCK_MAX_BODY" in run["reason"]
    assert len(rig.held()) == 10

    monkeypatch.setenv("TIDELOCK_MAX_BODY", "100000")
    settings.cache_clear()
    replayed(rig)
    assert rig.held() == rig.truth()


def test_a_page_token_that_repeats(world, monkeypatch):
    """The slice is dead and names the token; when the vendor's list is mended, setting it going again lands all."""
    with rigged(world, monkeypatch, notes(paging=cursor(loop=True)), stream(listed())) as rig:
        rig.make(25)
        rig.sync()
        rig.until_settled()
        (unit,) = rig.slices()
        assert unit["state"] == "dead"
        assert "came twice: the vendor's list runs in a circle" in unit["reason"]

        table = rig.vendor.account().table("notes")
        table.collection = notes()
        replayed(rig)
        assert rig.held() == rig.truth()


def test_a_redirect_to_another_host(rig):
    """Nothing is asked of the other host: the connection waits for a person with a sentence, and goes on after."""
    rig.vendor.faults.set([Fault(kind="redirect", path="/v1/notes", nth=(2,), location="http://elsewhere.invalid")])
    rig.sync()
    (account,) = rig.world.rows("connections")
    assert account["state"] == "failing"
    assert "a redirect leads away" in account["reason"]
    assert "elsewhere.invalid" in account["reason"]
    rig.world.execute("UPDATE connections SET state = 'active', reason = NULL")
    rig.until_settled(2)
    assert rig.held() == rig.truth()


def test_an_address_in_a_private_range(rig, monkeypatch):
    """No request leaves: the sentence names the address and the setting that allows it."""
    monkeypatch.setenv("TIDELOCK_ALLOW_PRIVATE", "")
    settings.cache_clear()
    rig.sync()
    (account,) = rig.world.rows("connections")
    assert account["state"] == "failing"
    assert "127.0.0.1 is a private or reserved address" in account["reason"]
    assert "TIDELOCK_ALLOW_PRIVATE=127.0.0.1/32" in account["reason"]
    assert not rig.asked()


def test_a_broker_that_is_down_during_a_tick(rig, monkeypatch):
    """The tick says which address doesn't answer and goes on; what it opened is rung for again when the broker is
    back."""
    with write() as connection:
        values = {"connection_id": rig.account, "rule": "every 1 hour", "next_due_at": now(-1)}
        connection.execute(insert(Schedule).values(zone="UTC", jitter=0, stream="", **values))
    said = CapturingLogger()
    monkeypatch.setattr(schedule, "log", said)
    monkeypatch.setattr(schedule, "send", send)
    dead = create("redis://127.0.0.1:1/0")
    dead.set_current()
    try:
        schedule.Scheduler(app=dead).tick()
    finally:
        usual.set_current()
    assert [call.method_name for call in said.calls] == ["error"]
    assert "127.0.0.1:1" in said.calls[0].kwargs["reason"]
    (unit,) = rig.slices()
    assert unit["state"] == "ready"

    monkeypatch.setattr(schedule, "send", rig.world.sent.extend)
    rig.world.execute("UPDATE slices SET rung_at = '2020-01-01 00:00:00.000000'")
    schedule.tick()
    while rig.world.deliver():
        pass
    assert rig.held() == rig.truth()


def decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
