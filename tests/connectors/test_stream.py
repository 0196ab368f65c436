"""Declarations are checked when they are made, with a sentence that names what is wrong."""

from typing import Any

import pytest

from connectors import (
    Ask,
    Connector,
    ContractError,
    Feed,
    Flag,
    Stream,
    Sweep,
    Tombstones,
    WithParent,
    boolean,
    epoch,
    get_one,
    iso,
    text,
    whole,
)


def stream(name: str = "rows", path: str = "/rows", **changes: Any) -> Stream:
    return Stream(name, path, whole(), **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "My Rows"}, "lower-case identifier"),
        ({"order": "newest"}, "order is one of"),
        ({"version": text("updated_at")}, "version is a time or an integer"),
        ({"version": boolean("x")}, "version is a time or an integer"),
        ({"when": "moved"}, "there is no parent"),
        ({"path": "/a/{id}/rows"}, r"the path names \{id\}"),
        ({"columns": (text("digest"),)}, "'digest' is there already"),
        ({"columns": (text("a.b"), text("a_b"))}, "'a_b' is there already"),
        ({"deletes": (Sweep(),)}, "needs get"),
        ({"deletes": (Sweep(every="soon", confirm="pass"),)}, "is not a duration"),
        ({"exempt": {"a": "x", "b": "y", "c": "z"}}, "at most two"),
    ],
)
def test_declaration_that_cannot_work_is_refused(changes: dict[str, Any], sentence: str) -> None:
    """At import, not at three in the morning."""
    with pytest.raises(ContractError, match=sentence):
        stream(**changes)


@pytest.mark.parametrize(
    ("streams", "sentence"),
    [
        ((stream(), stream()), "two streams are called 'rows'"),
        ((stream("child", parent="rows"), stream()), "must stand before it"),
    ],
)
def test_streams_that_do_not_fit_together_are_refused(streams: tuple[Stream, ...], sentence: str) -> None:
    """Whether given at once or made from the configuration."""
    with pytest.raises(ContractError, match=sentence):
        Connector(base_url="https://v.test", streams=streams)
    with pytest.raises(ContractError, match=sentence):
        Connector(base_url="https://v.test", streams=lambda _: streams).streams_for({})


def test_feed_covers_no_stream_below_another() -> None:
    """Nothing would say in which partition what it brings belongs."""
    child = Stream("rows", "/parents/{id}/rows", whole(), parent="parents")
    feed = Feed("/events", whole(), lambda _: (), at=epoch("created"), streams=("rows",))
    with pytest.raises(ContractError, match="covers 'rows': no event says"):
        Connector(base_url="https://v.test", streams=(stream(name="parents"), child), feed=feed)


def test_feed_covers_known_streams() -> None:
    """A misspelt name would be a stream that nobody feeds."""
    feed = Feed("/events", whole(), lambda _: (), at=epoch("created"), streams=("row",))
    with pytest.raises(ContractError, match="covers 'row'"):
        Connector(base_url="https://v.test", streams=(stream(),), feed=feed)


def test_path_is_filled_from_the_parent_and_quoted() -> None:
    """A parent's id can't change which path is asked."""
    child = stream("child", "/rows/{id}/c/{full_name}", parent="rows")
    assert child.parent_fields == ("id", "full_name")
    assert child.url(Ask(parent={"id": "a b?c#d", "full_name": "o/r"})) == "/rows/a%20b%3Fc%23d/c/o/r"
    assert child.url(Ask(parent={"id": 7, "full_name": "x"})) == "/rows/7/c/x"


def test_deletes_are_found_by_kind() -> None:
    """However they are ordered."""
    lists = Tombstones(path="/gone", pull=whole(), at=iso("at"))
    found = stream(deletes=(WithParent(), lists, Flag("gone"), Sweep()), get=get_one())
    assert found.tombstones is lists
    assert found.flags == (Flag("gone"),)
    assert found.sweep == Sweep()
    assert stream().sweep is None


def test_limits_are_read_whichever_way_they_are_written() -> None:
    """One, several, none; an undeclared name is no limit."""
    connector = Connector(base_url="x", streams=(), limits={"default": "5/second", "two": ("1/minute", "9/hour")})
    assert [str(one) for one in connector.limits_for("default")] == ["5/second"]
    assert len(connector.limits_for("two")) == 2
    assert connector.limits_for("other") == ()
    with pytest.raises(ContractError, match="is not a limit"):
        Connector(base_url="x", streams=(), limits={"default": "often"})
