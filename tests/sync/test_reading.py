"""Several small pages of a quick vendor land together, and nothing else changes."""

import json
from dataclasses import replace

from connectors import Rows
from sync import pull, reading
from sync.kit.vendor import Fault
from sync.store import leases
from tests.traps.rig import listed, notes, rigged, stream

LONG = 60.0  # seconds: no page of these tests comes too late for its neighbours


def counts(row):
    """SQLite gives JSON as the text that it is."""
    return json.loads(row["counts"]) if isinstance(row["counts"], str) else row["counts"]


def commits(monkeypatch):
    """The pages that each transaction saved."""
    saved, commit = [], leases.commit

    def note(connection, unit, fence, lease, progress):
        saved.append(progress["page_count"])
        commit(connection, unit, fence, lease, progress)

    monkeypatch.setattr(leases, "commit", note)
    return saved


def test_small_pages_land_together(world, monkeypatch):
    """As many rows as one transaction is meant for, whole pages of them; all are stored and counted."""
    saved = commits(monkeypatch)
    with rigged(world, monkeypatch, notes(), stream(listed(size=90)), span=LONG) as rig:
        rig.make(600)
        (run,) = rig.sync()
        assert rig.held() == rig.truth()
        assert {"inserted": 600, "pages": 7, "requests": 7}.items() <= counts(run).items()
        most = {"postgresql": 500, "sqlite": 200}[world.engine.dialect.name] // 90
        assert saved == [*range(most, 7, most), 7]


def test_large_pages_land_alone(sqlite_world, monkeypatch):
    """What waits to land is bounded in bytes, too."""
    monkeypatch.setattr(reading, "MOST_BYTES", 10_000)
    saved = commits(monkeypatch)
    with rigged(sqlite_world, monkeypatch, notes(), stream(listed(size=10)), span=LONG) as rig:
        rig.make(30, body="x" * 600)
        rig.sync()
        assert rig.held() == rig.truth()
        assert saved == [1, 2, 3]


def test_where_nothing_is_written_more_is_gathered(sqlite_world, monkeypatch):
    """The second sync finds the first pages as they are, and looks at the others all at once."""
    with rigged(sqlite_world, monkeypatch, notes(), stream(listed(size=90)), span=LONG) as rig:
        rig.make(900)
        rig.sync()
        saved = commits(monkeypatch)
        rig.sync(full=True)
        assert saved == [2, 10]


def test_a_slow_vendors_pages_land_one_by_one(sqlite_world, monkeypatch):
    """When the span is over with the first page, nothing waits for a second one."""
    saved = commits(monkeypatch)
    with rigged(sqlite_world, monkeypatch, notes(), stream(listed(size=10)), span=0.0) as rig:
        rig.make(30)
        rig.sync()
        assert saved == [1, 2, 3]


def test_what_fails_behind_pages_is_raised_when_they_have_landed(sqlite_world, monkeypatch):
    """The third page fails: the first two are stored with the position behind them, and are not asked for again."""
    with rigged(sqlite_world, monkeypatch, notes(), stream(listed(size=10)), span=LONG) as rig:
        rig.make(40)
        rig.vendor.faults.set([Fault(kind="status", path="/v1/notes", nth=(3,), status=503)])
        rig.sync()
        (held,) = rig.slices()
        assert (held["state"], held["pages"], counts(held)["inserted"]) == ("deferred", 2, 20)
        rig.vendor.faults.set([])
        rig.until_settled()
        assert rig.held() == rig.truth()
        assert len(rig.asked()) == 5


def test_pages_whose_time_is_their_version_land_alone(sqlite_world, monkeypatch):
    """Without a version in the record, what counts is when the vendor was asked: a page at a time."""
    saved = commits(monkeypatch)
    alone = stream(listed(size=10), version=None, cursor=None)
    with rigged(sqlite_world, monkeypatch, notes(), alone, span=LONG) as rig:
        rig.make(30)
        rig.sync()
        assert saved == [1, 2, 3]


def test_a_record_on_two_pages_is_stored_once_as_it_was_last(sqlite_world, monkeypatch):
    """A record that moves to a later page while the list is read lands with both: the newer one is stored."""
    with rigged(sqlite_world, monkeypatch, notes(), stream(listed(size=10)), span=LONG) as rig:
        keys = rig.make(20)
        rig.after(1, lambda: rig.vendor.update("notes", keys[0], {"text": "moved"}))
        (run,) = rig.sync()
        assert rig.held() == rig.truth()
        assert rig.held()[str(keys[0])]["text"] == "moved"
        assert (counts(run)["inserted"], counts(run)["repeated"]) == (20, 1)


def test_the_door_is_left_alone_while_pages_are_fetched_ahead(sqlite_world, monkeypatch):
    """Whoever asks for one record waits until the thread that fetches ahead is done."""
    monkeypatch.setattr(reading, "WORTHWHILE", 0.0)
    order = []
    fetch, rest = reading.Reading._fetch, reading.Reading.rest

    def fetched(self, ask, trail):
        answer = fetch(self, ask, trail)
        order.append(answer.page.next)
        return answer

    monkeypatch.setattr(reading.Reading, "_fetch", fetched)
    landed = pull.Pass._land

    def land(self, answer):
        rest(self.reading)
        order.append("rested")
        return landed(self, answer)

    monkeypatch.setattr(pull.Pass, "_land", land)
    with rigged(sqlite_world, monkeypatch, notes(), stream(listed(size=10)), span=0.0) as rig:
        rig.make(40)
        rig.sync()
    fetched_or_rested = "".join("r" if entry == "rested" else "f" for entry in order)
    assert fetched_or_rested == "fffrfrrr"


def test_rows_may_come_from_a_generator(sqlite_world, monkeypatch):
    """They are read once, though their number is asked for before they land."""
    listing = listed(size=10)

    def pull_lazily(api, stream, ask):
        page = listing(api, stream, ask)
        return replace(page, rows=(row for row in page.rows))

    with rigged(sqlite_world, monkeypatch, notes(), stream(pull_lazily), span=LONG) as rig:
        rig.make(40)
        rig.sync()
        assert rig.held() == rig.truth()


def test_joined_rows_are_those_of_one_page():
    """Whatever space stands around the arrays, and whether or not pages are empty."""
    pages = [
        Rows([b"1", b"2"], b" [1, 2]\n"),
        Rows([], b"[ ]"),
        Rows([b'{"a":3}'], b'[{"a":3}]'),
        Rows([b"4"], b"[4 ]"),
    ]
    joined = Rows.joined(pages)
    assert list(joined) == [1, 2, {"a": 3}, 4]
    assert joined.array == b'[1, 2,{"a":3},4 ]'
    assert list(Rows.joined(pages[1:2])) == []
    assert Rows.joined(pages[:2]).array.strip() == b"[1, 2]"
