"""Drift: what changes about the shape of records is noted once."""

import pytest
from sqlalchemy import event, select

from connectors import integer
from models import Drift
from sync.store import drift
from sync.store.columns import Misfit
from sync.store.database import read
from tests.sync.store.conftest import Lab


@pytest.fixture(autouse=True)
def fresh_process(lab):
    drift._shapes.clear()
    lab.account()


def observe(lab: Lab, *records, misfits=()):
    return drift.observe(lab.id, "things", lab.read(*records), misfits, lab.engine)


def noted(lab: Lab) -> dict[str, tuple[str, str]]:
    with read(lab.engine) as connection:
        rows = connection.execute(select(Drift.__table__).where(Drift.connection_id == lab.id))
        return {row.path: (row.kinds, row.news) for row in rows}


def record(**fields):
    return {"id": "a", "updated_at": "2026-01-01T00:00:00Z", **fields}


def test_the_first_sight_is_no_news(lab):
    observe(lab, record(n=1, t="x", b=True, l=[], o={}, z=None), record(id="b", n=None, only="here"))
    assert noted(lab) == {
        "id": ("text", ""), "updated_at": ("text", ""), "n": ("null|number", ""), "t": ("text", ""),
        "b": ("boolean", ""), "l": ("list", ""), "o": ("object", ""), "z": ("null", ""), "only": ("text", ""),
    }  # fmt: skip


def test_a_new_field_is_news(lab):
    observe(lab, record())
    (news,) = observe(lab, record(colour="red"))
    assert (news.path, news.what) == ("colour", "new")
    assert noted(lab)["colour"] == ("text", "new")


def test_another_type_is_news_and_null_is_none(lab):
    observe(lab, record(n=1, later=None))
    observe(lab, record(n=None, later="x"))
    assert noted(lab)["n"] == ("null|number", "")
    assert noted(lab)["later"] == ("null|text", "")
    (news,) = observe(lab, record(n="one", later="x"))
    assert (news.what, news.detail) == ("type", "was null|number, now also text")
    assert noted(lab)["n"] == ("null|number|text", "type")


def test_null_after_news_does_not_take_the_news_back(lab):
    observe(lab, record(n=1))
    observe(lab, record(n="x"))
    observe(lab, record(n=None))
    assert noted(lab)["n"] == ("null|number|text", "type")


def test_a_misfit_is_news_wherever_in_the_page_and_the_record_it_stands(lab):
    observe(lab, record(n=1))
    misfits = [Misfit(integer("a.b"), "list", "why"), Misfit(integer("n"), "number", "1.5 is not whole")]
    found = {news.path: (news.kinds, news.detail) for news in observe(lab, record(n=1), misfits=misfits)}
    assert found == {"a.b": ({"list", "unfit"}, "why"), "n": ({"number", "unfit"}, "1.5 is not whole")}
    assert observe(lab, record(n=1), misfits=misfits) == []


def test_a_misfit_is_news_at_first_sight(lab):
    (news,) = [one for one in observe(lab, record(n=1.5), misfits=[Misfit(integer("n"), "number", "why")]) if one.what]
    assert (news.path, news.what, news.detail) == ("n", "type", "why")


def test_an_unchanged_shape_costs_no_query(lab):
    observe(lab, record(n=1))
    queries = []
    event.listen(lab.engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
    assert observe(lab, record(n=2)) == []
    assert queries == []


def test_a_process_starts_from_what_others_noted(lab):
    observe(lab, record(n=1))
    drift._shapes.clear()
    assert observe(lab, record(n=2)) == []
    assert [news.path for news in observe(lab, record(n=2, m=1))] == ["m"]


def test_a_field_that_stays_away_is_missing_once(lab):
    for _ in range(10):
        observe(lab, record(n=1))
    found = [news for _ in range(250) for news in observe(lab, record())]
    assert [(news.path, news.what) for news in found] == [("n", "missing")]
    assert noted(lab)["n"] == ("number", "missing")


def test_a_field_that_was_always_rare_is_not_missing(lab):
    for sample in range(60):
        observe(lab, record(n=1) if sample % 4 == 0 else record())
    assert [news for _ in range(150) for news in observe(lab, record())] == []


def test_a_record_keyed_by_ids_does_not_fill_the_table(lab):
    observe(lab, record(**{f"f{n}": n for n in range(1000)}))
    assert len(noted(lab)) == 300
    assert observe(lab, record(**{f"g{n}": n for n in range(1000)})) == []


def test_an_empty_batch_and_a_record_out_of_range_are_no_samples(lab):
    assert observe(lab) == []
    assert observe(lab, b'{"id":"a","updated_at":"2026-01-01T00:00:00Z","x":1e400}') == []
