"""The event feed: the whole account's changes in one list."""

import pytest

from connectors import Delete, Feed, Pull, Refetch, Upsert, epoch, last_id
from sync.kit.vendor import Collection, Fault, Since
from sync.kit.vendor import last_id as by_last_id
from sync.kit.vendor.times import SECOND
from tests.mirrored import decoded
from tests.traps.rig import MINUTE, NOON, listed, notes, rigged, stream

CREATED = epoch("created")
EVENTS = Collection(
    name="events", paging=by_last_id(default=3, maximum=3), order="created", descending=True, created="created",
    updated="", since=Since(param="since", on="created"), stamps="epoch",
)  # fmt: skip
KEYS = list(range(1, 13))
TOLD = stream(listed(since=None), version=None, cursor=None)


def effects(event):
    note = event["data"]["object"]
    if event["type"] == "note.deleted":
        yield Delete("notes", str(note["id"]), CREATED.instant(event["created"]))
    else:
        yield Refetch("notes", str(note["id"]))


def whole(event):
    """The event's own copy is the truth, or says that everything may have changed."""
    note = event["data"]["object"]
    if note.get("text") == "everything":
        yield Pull("notes")
    else:
        yield Upsert("notes", note, CREATED.instant(event["created"]))


@pytest.fixture
def fed(world, monkeypatch, request):
    """A vendor whose events tell of its notes, three a page; the first sync is done."""
    means = getattr(request, "param", effects)
    feed = Feed("/v1/events", last_id("starting_after", since="since"), means, at=CREATED, streams=("notes",))
    with rigged(world, monkeypatch, [notes(since=None, events="events"), EVENTS], TOLD, feed=feed) as rig:
        assert rig.make(12) == KEYS
        rig.vendor.clock.advance(60)
        rig.vendor.update("notes", KEYS[-1], {"text": "the newest event"})
        rig.sync()
        assert rig.held() == rig.truth()
        rig.vendor.clock.advance(60)
        yield rig


def asked(rig):
    """What was asked for after the first sync."""
    return [entry.path for entry in rig.vendor.log.since() if entry.time >= (NOON + 2 * MINUTE) / SECOND]


def test_before_the_first_full_pass_only_the_head_is_read(fed):
    """One page, whatever lies behind it, and before any record: what changes meanwhile is told after it."""
    paths = [entry.path for entry in fed.vendor.log.since()]
    assert paths.count("/v1/events") == 1
    assert paths[0] == "/v1/events"


def test_events_become_what_they_mean(fed):
    """Made, changed and deleted, over several pages of events; no list is read."""
    for key in KEYS[:4]:
        fed.vendor.update("notes", key, {"text": "changed"})
    fed.vendor.delete("notes", KEYS[5])
    fed.vendor.create("notes", None, {"text": "new"})
    fed.sync()
    assert fed.held() == fed.truth()
    assert "/v1/notes" not in asked(fed)
    assert fed.world.rows("acme_notes", f"key = '{KEYS[5]}'")[0]["deleted_at"] is not None


def test_many_events_of_one_record_fetch_it_once(fed):
    for number in range(3):
        fed.vendor.update("notes", KEYS[0], {"text": f"change {number}"})
    fed.sync()
    assert asked(fed).count(f"/v1/notes/{KEYS[0]}") == 1
    assert fed.held() == fed.truth()


def test_events_of_the_last_second_are_acted_on_once(fed):
    """The next run asks for that second again, because more may follow in it; what it knows it leaves."""
    fed.vendor.update("notes", KEYS[0], {"text": "first"})
    fed.sync()
    fed.vendor.update("notes", KEYS[1], {"text": "in the same second"})
    fed.sync()
    fed.sync()
    records = [path for path in asked(fed) if path.startswith("/v1/notes/")]
    assert records == [f"/v1/notes/{KEYS[0]}", f"/v1/notes/{KEYS[1]}"]
    assert fed.held() == fed.truth()


def test_a_record_that_is_gone_when_it_is_fetched_is_buried(fed):
    """Changed and deleted before we came: its tombstone is as new as the look that found nothing."""
    fed.vendor.update("notes", KEYS[0], {"text": "changed"})
    fed.vendor.clock.advance(1)
    fed.vendor.delete("notes", KEYS[0])
    fed.sync()
    assert fed.held() == fed.truth()


def test_a_feed_that_fails_half_way_moves_no_position(fed):
    """Newest first: only a list that was read to its end proves that nothing lies before it."""
    at = fed.cursor("feed", "")
    for key in KEYS[:8]:
        fed.vendor.update("notes", key, {"text": "changed"})
        fed.vendor.clock.advance(1)
    fed.vendor.faults.set([Fault(kind="forbidden", path="/v1/events", nth=(2,))])
    fed.sync()
    assert fed.cursor("feed", "") == at
    assert fed.held() != fed.truth()
    fed.vendor.faults.set([])
    fed.sync()
    assert fed.held() == fed.truth()
    assert fed.cursor("feed", "")["at"] > at["at"]


def test_after_a_gap_everything_is_read_again(fed):
    """Not read for longer than the vendor keeps its events: the head, then a full pass."""
    fed.vendor.update("notes", KEYS[0], {"text": "told, and forgotten"})
    fed.world.execute("UPDATE checkpoints SET fresh_at = '2020-01-01 00:00:00.000000' WHERE list = 'feed'")
    fed.vendor.clock.advance(40 * 86_400)
    runs = fed.sync()
    assert [(run["list"], bool(run["full"])) for run in runs] == [("feed", True), ("rows", True)]
    assert asked(fed).count("/v1/events") == 1
    assert fed.held() == fed.truth()


def test_an_event_that_cant_be_read_is_kept_and_stops_no_other(world, monkeypatch):
    """A dead letter with the event's bytes."""

    def picky(event):
        if event["data"]["object"]["text"] == "odd":
            raise KeyError("plan")
        yield from effects(event)

    feed = Feed("/v1/events", last_id("starting_after", since="since"), picky, at=CREATED, streams=("notes",))
    with rigged(world, monkeypatch, [notes(since=None, events="events"), EVENTS], TOLD, feed=feed) as rig:
        keys = rig.make(5)
        rig.sync()
        rig.vendor.clock.advance(60)
        rig.vendor.update("notes", keys[0], {"text": "odd"})
        rig.vendor.update("notes", keys[1], {"text": "good"})
        runs = rig.sync()
        assert [run["state"] for run in runs] == ["done"]
        assert rig.held()[str(keys[1])]["text"] == "good"
        (reject,) = world.rows("rejects")
        assert "KeyError 'plan'" in reject["reason"]
        assert decoded(runs[0]["counts"])["rejected"] == 1


@pytest.mark.parametrize("fed", [whole], indirect=True)
def test_an_event_may_carry_the_record_or_ask_for_the_list(fed):
    """Upsert needs no request; Pull makes the stream's next run a full pass."""
    fed.vendor.update("notes", KEYS[0], {"text": "carried"})
    fed.sync()
    assert fed.held()[str(KEYS[0])]["text"] == "carried"
    assert set(asked(fed)) == {"/v1/events"}

    fed.vendor.clock.advance(1)
    fed.vendor.update("notes", KEYS[1], {"text": "everything"})
    fed.sync()
    fed.sync()
    assert "/v1/notes" in asked(fed)
    assert fed.held() == fed.truth()


def test_streams_that_nobody_selected_are_left_alone(world, monkeypatch):
    """An event about them asks for nothing."""
    feed = Feed("/v1/events", last_id("starting_after", since="since"), effects, at=CREATED, streams=("notes", "tags"))
    tags = Collection(name="tags", since=Since(param="since"))
    other = stream()
    with rigged(
        world, monkeypatch, [notes(since=None, events="events"), EVENTS, tags], TOLD,
        type(other)("tags", "/v1/tags", listed(), version=other.version, cursor=other.cursor),
        feed=feed, connection={"streams": ["tags"]},
    ) as rig:  # fmt: skip
        keys = rig.make(5)
        rig.sync()
        rig.vendor.update("notes", keys[0], {"text": "changed"})
        rig.sync()
        assert not [entry for entry in rig.vendor.log.since() if entry.path.startswith("/v1/notes")]
        assert rig.held() == {}


def contradicting(event):
    """Two copies of one version."""
    note, at = event["data"]["object"], CREATED.instant(event["created"])
    yield Upsert("notes", note, at)
    yield Upsert("notes", {**note, "text": "another"}, at)


def test_of_equal_versions_with_different_content_neither_wins(world, monkeypatch):
    """The record is asked for, once a page, and lands with it."""
    feed = Feed("/v1/events", last_id("starting_after", since="since"), contradicting, at=CREATED, streams=("notes",))
    told = stream(listed(since=None), cursor=None)
    with rigged(world, monkeypatch, [notes(since=None, events="events"), EVENTS], told, feed=feed) as rig:
        keys = rig.make(3)
        rig.sync()
        rig.vendor.clock.advance(60)
        rig.vendor.update("notes", keys[0], {"text": "changed"})
        runs = rig.sync()
        assert [run["state"] for run in runs] == ["done"]
        assert len(rig.asked(f"/v1/notes/{keys[0]}")) == 1
        assert rig.held() == rig.truth()
