"""The contract suite finds what authors get wrong: each rule fails for a connector that breaks it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors import (
    Ask,
    Connector,
    Delete,
    Feed,
    Flag,
    Page,
    Refetch,
    Rule,
    Stream,
    Sweep,
    TidelockError,
    Timestamp,
    cursor,
    epoch,
    get_one,
    integer,
    iso,
    text,
)
from connectors._outcomes import Outcome
from sync.kit import contract
from sync.kit.subject import Declared, Subject, subjects
from sync.lists import FEED, ROWS

BROKEN = pytest.fail.Exception
PULL = cursor("data", "next", since="since")
NAMES = ["Ann", "Bo", None, "Di"]
ROWS_OF = [{"id": n, "name": name, "at": f"2025-01-0{n}T00:00:00Z"} for n, name in enumerate(NAMES, 1)]
EVENTS = [
    {"id": "e1", "type": "gone", "key": "1", "at": 1_750_000_000},
    {"id": "e2", "type": "new", "key": "2", "at": 1_750_000_001},
]


def exchange(body: Any, path: str = "/rows", **params: str) -> dict[str, Any]:
    return {"request": {"path": path, "params": params}, "response": {"body": body}}


PAGES = [
    exchange({"data": ROWS_OF[:2], "next": "b"}),
    exchange({"data": ROWS_OF[2:3], "next": "c"}, cursor="b"),
    exchange({"data": ROWS_OF[3:], "next": None}, cursor="c"),
    exchange(ROWS_OF[0], "/rows/1"),
    exchange({"data": EVENTS, "next": None}, "/events"),
]


def stream(pull: Any = PULL, **changes: Any) -> Stream:
    kept: dict[str, Any] = {
        "version": iso("at"), "cursor": Timestamp(field=iso("at")), "get": get_one(),
        "deletes": (Sweep(),), "columns": (text("name"), iso("at")),
    }  # fmt: skip
    return Stream("rows", "/rows", pull, **{**kept, **changes})


@pytest.fixture
def subject(tmp_path: Path) -> Callable[..., Subject]:
    """A stream with recordings, as the suite sees it."""

    def made(one: Stream | None = None, exchanges: Any = PAGES, kind: str = ROWS, **changes: Any) -> Subject:
        folder = tmp_path / "acme"
        folder.mkdir(exist_ok=True)
        (folder / "rows.json").write_bytes(msgspec.json.encode(exchanges))
        connector = Connector(base_url="https://acme.test", streams=(one or stream(),), **changes)
        return next(found for found in subjects("acme", connector, tmp_path) if found.kind == kind)

    return made


def silent(api: Any, stream: Stream, ask: Ask) -> Page:
    """A pull function that takes anything for an empty page."""
    try:
        return PULL(api, stream, ask)
    except Exception:  # noqa: BLE001  # that is the mistake
        return Page([])


def deaf(api: Any, stream: Stream, ask: Ask) -> Page:
    """One that forgets `since`."""
    return cursor("data", "next")(api, stream, ask)


def hasty(api: Any, stream: Stream, ask: Ask) -> Page:
    """One that takes an empty page for the end."""
    page = PULL(api, stream, ask)
    return page if len(page.rows) else Page(page.rows)  # type: ignore[arg-type]  # Rows here


def tuples(api: Any, stream: Stream, ask: Ask) -> Page:
    """One whose token is no JSON."""
    page = PULL(api, stream, Ask(since=ask.since, page=ask.page[0] if ask.page else None))
    return Page(page.rows, (page.next,) if page.next else None)


REMEMBERED: dict[str, int] = {}


def framed(api: Any, stream: Stream, ask: Ask) -> Page:
    """One that keeps its position in the process instead of the ask."""
    if ask.page is None:
        REMEMBERED["page"] = 0
    token = (None, "b", "c")[REMEMBERED["page"]]
    REMEMBERED["page"] = min(REMEMBERED["page"] + 1, 2)
    page = PULL(api, stream, Ask(page=token))
    return Page(page.rows, f"page {REMEMBERED['page']}" if page.next else None)


class Late(Timestamp):
    """A cursor that starts a second too late."""

    def wire(self, position: Any) -> Any:
        return Timestamp(field=self.field).wire(position + 1_000_000)


def wrong_one(api: Any, stream: Stream, key: str) -> Any:
    return {"id": 99}


CASES: list[tuple[str, Callable[..., None], dict[str, Any], str]] = [
    ("a key that isn't there", contract.test_records_have_identity, {"key": "uuid"}, r"the key \$\.uuid is None"),
    ("a version that isn't there", contract.test_records_have_identity, {"version": integer("seq")}, "is None"),
    ("a cursor of another kind", contract.test_records_have_identity,
     {"version": None, "cursor": Timestamp(field=epoch("name"))}, r"\$\.name is 'Ann'"),
    ("a misspelt column", contract.test_columns_are_readable, {"columns": (text("nam"),)}, "no recorded record has"),
    ("a column of another kind", contract.test_columns_are_readable, {"columns": (integer("name"),)}, "is not integer"),
    ("a wrong order", contract.test_rows_come_in_order, {"order": "descending"}, "not descending"),
    ("a token that is no JSON", contract.test_tokens_survive_and_never_repeat, {"pull": tuples}, "changes on its way"),
    ("a position in the process", contract.test_page_resumes_from_every_token, {"pull": framed}, "other records"),
    ("an empty page that ends", contract.test_empty_page_goes_on, {"pull": hasty}, "the rest is lost"),
    ("a deaf pull function", contract.test_since_reaches_the_vendor, {"pull": deaf}, "name its parameter"),
    ("a cursor that rounds up", contract.test_ties_on_the_cursor_are_read_again,
     {"cursor": Late(field=iso("at"))}, "lies after"),
    ("no word on deletions", contract.test_deletions_are_learnt_or_exempt, {"deletes": ()}, "say how deletions"),
    ("a mark that nobody has", contract.test_deletions_are_learnt_or_exempt, {"deletes": (Flag("gone"),)}, "the mark"),
    ("another record", contract.test_get_gives_the_record, {"get": wrong_one}, "gives {'id': 99}"),
    ("a get that was not recorded", contract.test_get_gives_the_record, {"get": get_one("/other/{key}")}, "alone"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "sentence"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_mistake_is_found(subject: Any, check: Callable[..., None], wrong: dict[str, Any], sentence: str) -> None:
    """The sound connector passes, the one with the mistake fails with a sentence about it."""
    check(subject())
    with pytest.raises(BROKEN, match=sentence):
        check(subject(stream(**wrong)))


@pytest.mark.parametrize("fault", contract.FAULTS)
def test_silence_on_rubbish_is_found(subject: Any, fault: str) -> None:
    """An empty page in place of an error would one day delete everything."""
    contract.test_what_is_no_answer_is_an_error(subject(), fault)
    with pytest.raises(BROKEN, match="not a ContractError"):
        contract.test_what_is_no_answer_is_an_error(subject(stream(silent)), fault)


def test_repeating_token_and_missing_end_are_found(subject: Any) -> None:
    """The first would run for ever; without the second nobody knows that the list ends."""
    contract.test_list_ends(subject())
    with pytest.raises(BROKEN, match="to its end"):
        contract.test_list_ends(subject(exchanges=PAGES[:2]))
    circle = [*PAGES[:1], exchange({"data": [], "next": "b"}, cursor="b")]
    with pytest.raises(BROKEN, match="repeats"):
        contract.test_tokens_survive_and_never_repeat(subject(exchanges=circle))


def test_etag_that_is_not_understood_is_found(subject: Any) -> None:
    """A pull function must take a 304 for an empty, complete page."""

    def proud(api: Any, stream: Stream, ask: Ask) -> Page:
        return Page([api.get("/rows")["data"]])

    contract.test_a_304_is_an_empty_complete_page(subject(stream(etag=True)))
    with pytest.raises(BROKEN, match="a 304 gives"):
        contract.test_a_304_is_an_empty_complete_page(subject(stream(proud, etag=True)))


def effects(event: Mapping[str, Any]) -> Any:
    yield (
        Delete("rows", event["key"], event["at"] * 1_000_000)
        if event["type"] == "gone"
        else Refetch("rows", event["key"])
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda event: [Refetch("lines", event["key"])], "doesn't cover 'lines'"),
        (lambda event: [Delete("rows", event["key"], event["at"])], "not in microseconds"),
        (lambda event: [Refetch("rows", "")], "a key is a text"),
        (lambda event: [], "no recorded event has an effect on rows"),
    ],
)  # fmt: skip
def test_effect_that_means_nothing_is_found(subject: Any, wrong: Any, sentence: str) -> None:
    """Events are acted on without being looked at again."""

    def fed(meaning: Any) -> Subject:
        feed = Feed("/events", cursor("data", "next"), meaning, at=epoch("at"), streams=("rows",))
        found: Subject = subject(kind=FEED, feed=feed)
        return found

    contract.test_events_mean_something_known(fed(effects))
    with pytest.raises(BROKEN, match=sentence):
        contract.test_events_mean_something_known(fed(wrong))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"owner": None}, "name the team"),
        ({"rules": (Rule(status=429, then=Outcome.RATE_LIMITED, scope="search"),)}, "no limit is called 'search'"),
        ({"streams": (stream(limit="exports"),)}, "no limit is called 'exports'"),
        ({"streams": (stream(exempt={"everything": "why not"}),)}, "no rule is called"),
        ({"streams": (stream(exempt={"deletes": ""}),)}, "its reason in writing"),
        ({"streams": tuple(replace(stream(exempt={"get": "no"}), name=name) for name in "abc")}, "at most two"),
    ],
)  # fmt: skip
def test_declaration_with_a_hole_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], sentence: str
) -> None:
    """Before a run finds it."""
    sound: dict[str, Any] = {"base_url": "https://acme.test", "streams": (stream(),), "owner": "us"}
    made = {"sound": Connector(**sound), "wrong": Connector(**{**sound, **changes})}
    monkeypatch.setattr("sync.kit.subject.load_connector", made.__getitem__)
    contract.test_declaration_is_whole(Declared("sound", tmp_path))
    with pytest.raises(BROKEN, match=sentence):
        contract.test_declaration_is_whole(Declared("wrong", tmp_path))


def test_outcome_other_than_recorded_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that shadows another changes what the engine does next."""
    monkeypatch.setattr("sync.kit.subject.load_connector", lambda _: Connector(base_url="x", streams=()))
    (tmp_path / "acme").mkdir()
    for then, wait, ok in (("gone", "", True), ("retry", "", False), ("gone", "retry-after", False)):
        verdict = {"status": 404, "body": {}, "then": then, "wait": wait}
        (tmp_path / "acme" / "outcomes.json").write_bytes(msgspec.json.encode([verdict]))
        if ok:
            contract.test_outcomes_are_as_recorded(Declared("acme", tmp_path))
            continue
        with pytest.raises(BROKEN, match="the rules"):
            contract.test_outcomes_are_as_recorded(Declared("acme", tmp_path))


def test_recording_that_the_connector_cannot_read_fails_tests_and_not_their_collection(subject: Any) -> None:
    """One broken connector must not keep the others from being tested."""
    broken = subject(stream(cursor("items", "next")))
    assert broken.is_recorded
    with pytest.raises(TidelockError, match=r"no array at \$\.items"):
        contract.test_is_recorded(broken)
    assert not subject(Stream("rows", "/elsewhere", PULL)).is_recorded


def test_exempt_rule_is_not_asked_for(subject: Any) -> None:
    """With its reason in writing."""
    reason = "the vendor never deletes, see https://acme.test/docs"
    contract.test_deletions_are_learnt_or_exempt(subject(stream(deletes=(), exempt={"deletes": reason})))


def test_partition_without_its_field_is_found(subject: Any) -> None:
    """`when` and the path name fields that the parents must have."""
    for when, found in (("at", False), ("moved", True)):
        child = Stream("parts", "/rows/{id}/parts", PULL, parent="rows", when=when, deletes=(Sweep(confirm="pass"),))
        made = subject()
        connector = Connector(base_url="x", streams=(stream(), child))
        one = Subject(name="acme", connector=connector, stream=child, kind=ROWS, recordings=made.recordings)
        if not found:
            contract.test_parents_name_their_partitions(one)
            continue
        with pytest.raises(BROKEN, match=r"rows has no \$\.moved"):
            contract.test_parents_name_their_partitions(one)
