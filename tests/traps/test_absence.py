"""What a list doesn't show: deleted, beyond the window, expired, or no more allowed to be seen."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from connectors import (
    Delete,
    Feed,
    Flag,
    Opaque,
    Outcome,
    Refetch,
    Rule,
    Stream,
    Sweep,
    Tombstones,
    epoch,
    get_one,
    iso,
    last_id,
)
from models import Checkpoint
from sync.kit.vendor import Collection, Fault, Since, SyncToken, cursor
from sync.kit.vendor import last_id as by_last_id
from sync.kit.vendor.exchange import Refusal
from sync.kit.vendor.times import SECOND
from sync.kit.vendor.tokens import encode
from sync.store import letters
from sync.store.database import write
from tests.traps.rig import DAY, NOON, UPDATED, listed, notes, rigged, stream

EXPIRED = Rule(status=410, then=Outcome.RESET_CURSOR, why="the vendor forgot where we were")


def swept(**changes):
    """Notes of which only a full pass tells the deleted."""
    return stream(cursor=None, deletes=(Sweep(every=None, **changes),))


@pytest.mark.parametrize("confirm", ["get", "pass", "order"])
def test_deletes_invisible(world, monkeypatch, confirm):
    """A full pass whose third page fails deletes nothing, though what it would have shown is absent; the next
    whole one deletes what is gone, and only that."""
    with rigged(world, monkeypatch, notes(), swept(confirm=confirm, max_drop=1.0)) as rig:
        keys = rig.make(45)
        rig.sync()
        rig.vendor.delete("notes", keys[7])
        rig.vendor.faults.set([Fault(kind="status", path="/v1/notes", nth=tuple(range(3, 30)))])
        (run,) = rig.sync()
        rig.until_settled()
        assert rig.slices()[-1]["state"] == "dead"
        assert len(rig.held()) == 45

        rig.vendor.faults.set([])
        rig.vendor.clock.advance(60)
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.held() == rig.truth()
        assert len(rig.held()) == 44


def test_deletes_invisible_confirmed(world, monkeypatch):
    """A page that comes empty, and ends the list, deletes nothing: each absent record is asked for."""
    with rigged(world, monkeypatch, notes(), swept(confirm="get", max_drop=1.0)) as rig:
        rig.make(45)
        rig.sync()
        rig.vendor.faults.set([Fault(kind="empty", path="/v1/notes", nth=(3,))])
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.held() == rig.truth()
        assert len(rig.held()) == 45


def test_deletes_invisible_by_a_second_pass(world, monkeypatch):
    """Where no record can be asked for alone, a page that comes empty deletes nothing that a second pass shows."""
    with rigged(world, monkeypatch, notes(), swept(confirm="pass", max_drop=1.0)) as rig:
        keys = rig.make(45)
        rig.sync()
        rig.vendor.delete("notes", keys[7])
        rig.vendor.faults.set([Fault(kind="empty", path="/v1/notes", nth=(3,))])
        rig.vendor.clock.advance(60)
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.held() == rig.truth()
        assert len(rig.held()) == 44


def test_deletes_invisible_by_guard(world, monkeypatch):
    """More gone than the guard allows waits for the owner, whose approval is a ceiling."""
    with rigged(world, monkeypatch, notes(), swept(confirm="order")) as rig:
        keys = rig.make(60)
        rig.sync()
        for key in keys[:10]:
            rig.vendor.delete("notes", key)
        rig.vendor.clock.advance(60)
        (run,) = rig.sync()
        assert run["state"] == "held"
        assert len(rig.held()) == 60

        with write() as connection:
            letters.release(connection, letters.slices(connection), ceiling=10)
        rig.world.settle()
        assert rig.held() == rig.truth()


FEED = Collection(
    name="events",
    paging=by_last_id(),
    order="created",
    descending=True,
    since=Since(param="since", on="created"),
    created="created",
    updated="",
    stamps="epoch",
    retention_s=30 * 86_400,
)


def effects(event):
    key = str(event["data"]["object"]["id"])
    if event["type"] == "note.deleted":
        yield Delete("notes", key, epoch("created").instant(event["created"]))
    else:
        yield Refetch("notes", key)


def fed(**changes):
    return Feed(
        "/v1/events", last_id("starting_after", since="since"), effects, at=epoch("created"), streams=("notes",),
        retention="30 days", **changes,
    )  # fmt: skip


def test_deletion_window_passed(world, monkeypatch):
    """31 days of pause at a vendor that keeps events for 30: what was deleted in the first of them is found by a
    full pass, not by the feed, which has forgotten it."""
    told = stream(listed(since=None), version=None, cursor=None)
    with rigged(world, monkeypatch, [notes(since=None, events="events"), FEED], told, feed=fed()) as rig:
        keys = rig.make(30)
        rig.sync()
        rig.vendor.clock.advance(60)
        rig.vendor.update("notes", keys[3], {"text": "while the feed is read"})
        rig.vendor.delete("notes", keys[4])
        rig.sync()
        assert rig.held() == rig.truth()
        pages = len(rig.asked())

        rig.vendor.delete("notes", keys[5])
        _pass_days(rig, 31)
        rig.vendor.update("notes", keys[6], {"text": "after the pause"})
        rig.sync()
        assert len(rig.asked()) > pages
        assert rig.held() == rig.truth()


def test_deletion_window_passed_of_tombstones(world, monkeypatch):
    """The same where the vendor lists what it deleted, for 15 days; also where the full pass fails at first."""
    graves = Collection(
        name="graves",
        paging=cursor(),
        since=Since(param="since"),
        created="",
        updated="deleted_at",
        retention_s=15 * 86_400,
    )
    listed_graves = Tombstones(path="/v1/graves", pull=listed(), at=iso("deleted_at"), retention="15 days")
    with rigged(world, monkeypatch, [notes(tombstones="graves"), graves], stream(deletes=(listed_graves,))) as rig:
        keys = rig.make(30)
        rig.sync()
        rig.vendor.clock.advance(60)
        rig.vendor.delete("notes", keys[4])
        rig.sync()
        assert rig.held() == rig.truth()

        rig.vendor.delete("notes", keys[5])
        _pass_days(rig, 31)
        rig.vendor.withdraw("notes")
        rig.sync()
        rig.vendor.withdraw("notes", "")
        rig.sync()
        assert rig.held() == rig.truth()


def _pass_days(rig, days):
    """So many days go by, for the vendor and for what the database remembers."""
    rig.vendor.clock.advance(days * DAY / SECOND)
    with write() as connection:
        for row in connection.execute(select(Checkpoint.__table__)).all():
            moments = {name: getattr(row, name) for name in ("fresh_at", "full_at") if getattr(row, name)}
            earlier = {name: moment - timedelta(days=days) for name, moment in moments.items()}
            own = (Checkpoint.stream == row.stream, Checkpoint.list == row.list, Checkpoint.partition == row.partition)
            connection.execute(update(Checkpoint).where(*own).values(**earlier))


def test_deletion_window_passed_and_the_pass_fails(sqlite_world, monkeypatch):
    """The full pass stays due until one has succeeded, though the feed is up to date by then."""
    told = stream(listed(since=None), version=None, cursor=None)
    with rigged(sqlite_world, monkeypatch, [notes(since=None, events="events"), FEED], told, feed=fed()) as rig:
        keys = rig.make(30)
        rig.sync()
        rig.vendor.delete("notes", keys[5])
        _pass_days(rig, 31)
        rig.vendor.withdraw("notes")
        rig.sync()
        rig.vendor.withdraw("notes", "")
        rig.sync()
        assert rig.held() == rig.truth()


def google(**changes):
    """Notes as Google's calendars list them: a token for what changed since, with the last page only."""
    dialect = notes(
        since=None, sync_token=SyncToken(expires_s=3600), flag=("deleted", True), flag_param="showDeleted", **changes
    )
    pull = listed(since="syncToken", sync_token="nextSyncToken")
    told = stream(
        pull, cursor=Opaque(), version=UPDATED, deletes=(Flag("deleted"),), params={"showDeleted": "true"}, get=None
    )
    return dialect, told


def test_expired_token(world, monkeypatch):
    """A token that the vendor has forgotten (410) brings a full pass, after which what is gone is gone here too,
    and the next sync goes on from the new token."""
    dialect, told = google()
    with rigged(world, monkeypatch, dialect, told, rules=(EXPIRED,)) as rig:
        keys = rig.make(35)
        rig.sync()
        _forget(rig, keys[4])
        rig.vendor.clock.advance(7200)
        rig.vendor.update("notes", keys[7], {"text": "while the token expired"})
        rig.sync()
        rig.until_settled(2)
        assert rig.held() == rig.truth()

        rig.vendor.clock.advance(60)
        rig.vendor.update("notes", keys[8], {"text": "with the new token"})
        pages = len(rig.asked())
        rig.sync()
        assert rig.held() == rig.truth()
        assert len(rig.asked()) == pages + 1


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_expired_token_mid_pagination(world, monkeypatch, first):
    """A page token that dies under way (410) begins the pass again; what was landed before and is gone since is
    not left behind."""
    dialect, told = google(paging=cursor(expires_s=600))
    with rigged(world, monkeypatch, dialect, told, rules=(EXPIRED,)) as rig:
        keys = rig.make(35)
        if not first:
            rig.sync()
            rig.vendor.clock.advance(7200)

        def hour_passes() -> None:
            _forget(rig, keys[4])
            rig.vendor.clock.advance(3000)

        rig.after(2 if first else 3, hour_passes)
        rig.sync()
        rig.until_settled(3)
        assert not rig.slices("state <> 'done'")
        assert rig.held() == rig.truth()


def _forget(rig, key):
    """The vendor drops a row for good: no list shows that it was deleted."""
    account = rig.vendor.account()
    with account.lock:
        table = account.table("notes")
        table.drop(table.rows[key])


def test_next_sync_token_on_last_page_only(world, monkeypatch):
    """A vendor that names the next token on every page: it counts when the last page is in. A pass that ends
    before that begins again from the old token."""
    dialect, told = google()
    with rigged(world, monkeypatch, dialect, told, rules=(EXPIRED,)) as rig:
        keys = rig.make(35)
        rig.rewrite(_early_token)
        rig.sync()
        old = rig.cursor()
        rig.vendor.clock.advance(60)
        for key in keys:
            rig.vendor.update("notes", key, {"text": "changed"})
        rig.vendor.clock.advance(60)
        rig.after(2, lambda: rig.vendor.withdraw("notes"))
        rig.sync()
        assert rig.slices()[-1]["state"] == "dead"
        assert rig.cursor() == old

        rig.vendor.withdraw("notes", "")
        asked = len(rig.asked())
        rig.sync()
        assert rig.asked()[asked].query["syncToken"] == old
        assert rig.held() == rig.truth()
        assert rig.cursor() != old


def _early_token(request, answer):
    if answer.status == 200 and b"nextSyncToken" not in answer.body:
        token = encode(NOON + 3600 * SECOND).encode()
        answer.body = answer.body[:-1] + b',"nextSyncToken":"' + token + b'"}'
    return answer


@pytest.mark.parametrize("how", ["forbidden", "missing", "empty"])
@pytest.mark.parametrize("confirm", ["get", "pass", "order"])
def test_permission_loss_looks_like_deletion(world, monkeypatch, how, confirm):
    """A scope that is revoked, however the vendor says so, deletes nothing: the stream waits for a person."""
    with rigged(world, monkeypatch, notes(), swept(confirm=confirm)) as rig:
        rig.make(30)
        rig.sync()
        _revoke(rig, how)
        rig.sync()
        rig.until_settled(3)
        assert len(rig.held()) == 30
        assert rig.slices()[-1]["state"] in {"dead", "held"}


def _revoke(rig, how):
    """The list is refused, missing or empty, and no record can be had alone either."""
    rig.vendor.withdraw("notes", how)
    rig.rewrite(lambda request, answer: _hidden(request.path != "/v1/notes", answer))


def _hidden(hidden, answer):
    return Refusal(404, "not_found", "you can't see that").answer if hidden else answer


def test_permission_loss_looks_like_deletion_in_small_partitions(sqlite_world, monkeypatch):
    """A hundred parents with a child each, all of whose lists are empty now: no guard of one child would notice."""
    parents = Collection(name="boards", since=Since(param="since"))
    children = notes(parent="boards", parent_field="board_id")
    boards = Stream("boards", "/v1/boards", listed(100), version=UPDATED, cursor=stream().cursor)
    own = replace(swept(confirm="get"), path="/v1/boards/{id}/notes", parent="boards", get=get_one("/v1/notes/{key}"))
    with rigged(sqlite_world, monkeypatch, [parents, children], boards, own) as rig:
        for number in range(60):
            board = rig.vendor.create("boards", None, {"text": f"board {number}"})
            rig.vendor.create("notes", None, {"text": f"note {number}", "board_id": board})
        rig.sync()
        assert len(rig.held()) == 60
        rig.vendor.clock.advance(60)
        rig.vendor.withdraw("notes", "empty")
        rig.rewrite(lambda request, answer: _hidden(request.path.startswith("/v1/notes/"), answer))
        rig.sync()
        assert len(rig.held()) >= 54
        assert any(row["state"] == "held" for row in rig.slices())


def test_permission_loss_looks_like_deletion_in_a_feed(world, monkeypatch):
    """Events that say "changed", and records that can't be found: many at once are not deleted but held, and are
    all well when the permission is back."""
    told = stream(listed(since=None), version=None, cursor=None)
    with rigged(world, monkeypatch, [notes(since=None, events="events"), FEED], told, feed=fed()) as rig:
        keys = rig.make(30)
        rig.sync()
        rig.vendor.clock.advance(60)
        for key in keys[:20]:
            rig.vendor.update("notes", key, {"text": "changed"})
        rig.vendor.withdraw("notes", "missing")
        rig.sync()
        rig.sync()
        assert len(rig.held()) == 30
        (held,) = rig.slices("state = 'held'")
        assert "notes: 20 of 30 records are gone" in held["reason"]

        rig.vendor.withdraw("notes", "")
        with write() as connection:
            letters.release(connection, letters.slices(connection))
        rig.world.settle()
        assert rig.held() == rig.truth()
