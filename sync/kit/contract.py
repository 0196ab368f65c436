"""The contract suite, a pytest plugin: what every connector promises, proved on its recordings.

A test module that holds `from sync.kit.contract import *` covers the connectors whose recordings lie in
folders beside it, or those that its `CONNECTORS` names. A rule that a vendor can't meet is exempt with a
written reason, in the stream's `exempt`; the reasons are printed at the end.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from connectors import Ask, ContractError, Delete, Field, Json, Kind, Outcome, Refetch, Rows, Timestamp, Upsert
from connectors._outcomes import classify
from sync.kit.recording import Response, load
from sync.kit.replay import Unrecorded
from sync.kit.subject import Declared, Subject, altered
from sync.lists import FEED, ROWS
from sync.registry import bundled

__all__ = [
    "test_a_304_is_an_empty_complete_page",
    "test_columns_are_readable",
    "test_declaration_is_whole",
    "test_deletions_are_learnt_or_exempt",
    "test_empty_page_goes_on",
    "test_events_mean_something_known",
    "test_get_gives_the_record",
    "test_is_recorded",
    "test_list_ends",
    "test_outcomes_are_as_recorded",
    "test_page_resumes_from_every_token",
    "test_parents_name_their_partitions",
    "test_records_have_identity",
    "test_rows_come_in_order",
    "test_since_reaches_the_vendor",
    "test_ties_on_the_cursor_are_read_again",
    "test_tokens_survive_and_never_repeat",
    "test_what_is_no_answer_is_an_error",
]

RULES: Mapping[str, str] = {
    "columns": "every declared column is readable, and present in a recorded record",
    "deletes": "how deletions are learnt is declared",
    "empty": "an empty page with a next token goes on",
    "end": "a recorded page ends the list",
    "get": "one record can be asked for by its key",
    "order": "the records come in the declared order",
    "since": "the cursor's position reaches the vendor",
    "ties": "the cursor's position asks again for records with just that value",
}
FAULTS: Mapping[str, Callable[[bytes], bytes]] = {
    "truncated": lambda body: body[: len(body) // 2],
    "nothing": lambda body: b"",
    "no JSON": lambda body: b"upstream connect error",
    "a web page": lambda body: b"<!doctype html><html><body>Please log in</body></html>",
    "another object": lambda body: b'{"error": {"message": "something went wrong"}}',
}
SANE = range(100_000_000 * 1_000_000, 10_000_000_000 * 1_000_000)  # microseconds: 1973 to 2286


# --- what is covered ---


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each connector that the module covers, and for each of its lists."""
    wanted = {"declared", "subject", "unproved"} & set(metafunc.fixturenames)
    if wanted and metafunc.module.__dict__.get("test_is_recorded") is test_is_recorded:
        name = wanted.pop()
        cases = list(_CASES[name](_covered(metafunc.module)))
        metafunc.parametrize(name, cases, ids=map(str, cases))


def _covered(module: Any) -> list[Declared]:
    folder = Path(module.__file__).parent
    names = getattr(module, "CONNECTORS", None) or [path.name for path in folder.iterdir() if _is_recorded(path)]
    return [Declared(name, folder) for name in sorted(names)]


def _is_recorded(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.json"))


def _proved(covered: list[Declared]) -> Iterator[Subject]:
    return (subject for one in covered for subject in one.subjects() if subject.is_recorded)


_CASES: Mapping[str, Callable[[list[Declared]], Any]] = {
    "declared": lambda covered: covered,
    "unproved": lambda covered: [subject for one in covered for subject in one.subjects()],
    "subject": _proved,
}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the exemptions of the bundled connectors, so that they are not forgotten."""
    folder = config.rootpath / "tests" / "connectors"
    lists = [subject for name in bundled() for subject in Declared(name, folder).subjects()]
    exempt = [(subject, rule, why) for subject in lists for rule, why in subject.stream.exempt.items()]
    if exempt:
        terminalreporter.section("exempt from the contract of connectors")
    for subject, rule, why in exempt:
        terminalreporter.write_line(f"{subject}: {rule}: {why}")


def demand(holds: object, sentence: str) -> None:
    """Fail with a sentence for the author."""
    if not holds:
        pytest.fail(sentence, pytrace=False)


# --- the declaration ---


def test_declaration_is_whole(declared: Declared) -> None:
    """There is an owner, limits and rules name what is declared, and only known rules are exempt."""
    connector, config = declared.connector, load(declared.folder / declared.name).config
    demand(connector.owner, "name the team that is told of failures: owner=...")
    limits = {"default", *connector.limits}
    streams = connector.streams_for(config)
    demand(sum(len(stream.exempt) for stream in streams) <= 2, "at most two rules of a connector can be exempt")
    for stream in streams:
        demand(stream.limit in limits, f"{stream.name}: no limit is called {stream.limit!r}")
        unknown = set(stream.exempt) - set(RULES)
        demand(not unknown, f"{stream.name}: no rule is called {unknown}; there are {', '.join(RULES)}")
        demand(all(stream.exempt.values()), f"{stream.name}: an exemption needs its reason in writing")
    for rule in connector.rules:
        demand(rule.scope is None or rule.scope in limits, f"{rule}: no limit is called {rule.scope!r}")
    demand(connector.feed is None or connector.feed.limit in limits, "the feed's limit is not declared")


def test_outcomes_are_as_recorded(declared: Declared) -> None:
    """The rules make of every answer in outcomes.json what stands there."""
    for verdict in load(declared.folder / declared.name).verdicts:
        headers = {name.lower(): value for name, value in verdict.headers.items()}
        body = verdict.body.encode() if isinstance(verdict.body, str) else msgspec.json.encode(verdict.body)
        rule = classify(declared.connector.rules, verdict.method, verdict.status, headers, body)
        expected = Outcome(verdict.then)
        demand(rule.then is expected, f"{verdict}: the rules make {rule.then.value!r} of it, by {rule}")
        waits = not verdict.wait or (rule.wait and rule.wait.header == verdict.wait)
        demand(waits, f"{verdict}: the rules wait by {rule.wait}")


def test_is_recorded(unproved: Subject) -> None:
    """Every list has a recording, without which nothing else is proved."""
    if not unproved.is_recorded:
        pytest.skip(f"{unproved}: nothing is recorded of {unproved.stream.path!r}. Next, {unproved.advice}")
    demand(unproved.rows(), f"{unproved}: the recording holds no record; {unproved.advice}")


# --- records ---


def test_records_have_identity(subject: Subject) -> None:
    """Every recorded record has its key, its version and its place in the cursor."""
    for row in subject.rows():
        for path in subject.stream.keys:
            key = Field(path, Kind.TEXT).value(row)
            demand(isinstance(key, str | int) and key != "", f"the key $.{path} is {key!r} in {row}")
        for field in _moving(subject):
            _instant(field, row)


def _moving(subject: Subject) -> list[Field]:
    cursor = subject.stream.cursor
    return [field for field in (subject.stream.version, cursor.field if cursor else None) if field]


def test_columns_are_readable(subject: Subject) -> None:
    """Every declared column is of its kind where it is present, and present somewhere."""
    rows = subject.rows()
    for column in () if "columns" in subject.stream.exempt else subject.stream.columns:
        values = [value for row in rows if (value := column.value(row)) is not None]
        demand(values, f"no recorded record has a value at $.{column.path}: correct it, or record more")
        for value in values:
            demand(
                _READABLE[column.kind](column, value),
                f"{value!r} at $.{column.path} is not {column.kind.value}",
            )


def test_rows_come_in_order(subject: Subject) -> None:
    """The records come as `order` says, across pages."""
    stream = subject.stream
    field = stream.cursor.field if stream.cursor else None
    if field is None or stream.order == "unordered" or "order" in stream.exempt:
        return
    for walk in subject.walks():
        rows = [msgspec.json.decode(raw) for step in walk for raw in step.rows]
        found = [_instant(field, row) for row in rows if isinstance(row, dict)]
        expected = sorted(found, reverse=stream.order == "descending")
        demand(found == expected, f"the records are not {stream.order} by $.{field.path}: order='unordered'?")


def _instant(field: Field, row: Mapping[str, Json]) -> int:
    value = field.value(row)
    try:
        return field.instant(value)
    except (ValueError, TypeError) as error:
        return pytest.fail(f"$.{field.path} is {value!r} in {row}: {error}", pytrace=False)


def _is_instant(field: Field, value: Json) -> bool:
    try:
        field.instant(value)
    except (ValueError, TypeError):
        return False
    return True


_READABLE: Mapping[Kind, Callable[[Field, Json], bool]] = {
    Kind.TEXT: lambda _, value: isinstance(value, str),
    Kind.INTEGER: lambda _, value: isinstance(value, int) and not isinstance(value, bool),
    Kind.NUMBER: lambda _, value: isinstance(value, int | float) and not isinstance(value, bool),
    Kind.BOOLEAN: lambda _, value: isinstance(value, bool),
    Kind.JSON: lambda _, value: True,
    Kind.ISO: _is_instant,
    Kind.EPOCH: _is_instant,
    Kind.EPOCH_MS: _is_instant,
}


# --- pages ---


def test_tokens_survive_and_never_repeat(subject: Subject) -> None:
    """A page token is JSON, and no walk sees the same twice."""
    for walk in subject.walks():
        tokens = [msgspec.json.encode(step.next) for step in walk if step.next is not None]
        same = all(msgspec.json.decode(token) == step.next for token, step in zip(tokens, walk, strict=False))
        demand(same, f"a page token changes on its way through JSON: {tokens}")
        demand(len(set(tokens)) == len(tokens), f"a page token repeats: {tokens}")


def test_list_ends(subject: Subject) -> None:
    """The last page says that it is the last."""
    ends = any(walk[-1].next is None for walk in subject.walks())
    demand(ends or "end" in subject.stream.exempt, "no recorded page ends the list: record to its end")


def test_page_resumes_from_every_token(subject: Subject) -> None:
    """Another worker that knows only the saved ask reads the same rest, from every page on."""
    for walk in subject.walks():
        for number, step in enumerate(walk):
            saved = msgspec.json.decode(msgspec.json.encode(step.ask.json()))
            again = subject.walk(Ask.of(saved, step.ask.config))
            rest = [one.rows for one in walk[number:]]
            demand([one.rows for one in again] == rest, f"page {number + 1} resumes with other records")


def test_empty_page_goes_on(subject: Subject) -> None:
    """A page without records, but with a way to the next, doesn't end the list."""
    if subject.is_folder or "empty" in subject.stream.exempt:
        return
    for step in (step for walk in subject.walks() for step in walk if step.next is not None):
        page = subject.pull(subject.door(), step.ask)
        array = page.rows.array if isinstance(page.rows, Rows) else None
        if not array:
            continue
        emptied = subject.door(alter=altered(lambda body, rows=array: body.replace(rows, b"[]")))  # type: ignore[misc]  # mypy can't type a lambda's defaults
        try:
            following = subject.pull(emptied, step.ask).next
        except ContractError:
            continue
        demand(following is not None, "an empty page in the middle of the list ends it, and the rest is lost")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_answer_is_an_error(subject: Subject, fault: str) -> None:
    """An answer that can't be read is an error, never an empty page."""
    if subject.is_folder:
        return
    ask, _ = subject.first()
    try:
        page = subject.pull(subject.door(alter=altered(FAULTS[fault])), ask)
    except ContractError:
        return
    pytest.fail(f"{fault} in place of an answer gives {page}, not a ContractError", pytrace=False)


def test_a_304_is_an_empty_complete_page(subject: Subject) -> None:
    """What is unchanged has no records and no next page."""
    if not subject.stream.etag:
        return
    ask, _ = subject.first()
    page = subject.pull(subject.door(alter=lambda response: Response(304)), ask)
    demand(not list(page.rows) and page.next is None, f"a 304 gives {page}")


# --- the cursor ---


def test_since_reaches_the_vendor(subject: Subject) -> None:
    """Where the cursor stands is part of the request; else every run would be a full pass in disguise."""
    cursor = subject.stream.cursor
    if cursor is None or subject.is_folder or "since" in subject.stream.exempt:
        return
    ask, exchange = subject.first()
    positions = [_instant(cursor.field, row) for row in subject.rows()] if cursor.field else ["position"]
    since = cursor.wire(max(positions))
    door = subject.door(otherwise=exchange.response)
    subject.pull(door, replace(ask, since=since))
    demand(str(since) in str(door.asked[0]), f"since {since!r} is not in {door.asked[0]}: name its parameter")


def test_ties_on_the_cursor_are_read_again(subject: Subject) -> None:
    """What the vendor is told doesn't lie after the record that the position stems from."""
    cursor = subject.stream.cursor
    if not isinstance(cursor, Timestamp) or "ties" in subject.stream.exempt:
        return
    for row in subject.rows():
        instant = _instant(cursor.field, row)
        told = cursor.wire(instant)
        demand(_latest(cursor, told) <= instant, f"{told!r} lies after {cursor.field.value(row)!r}")


def _latest(cursor: Timestamp, told: Json) -> int:
    """The latest moment that the vendor may understand."""
    fields = {"epoch": Kind.EPOCH, "epoch_ms": Kind.EPOCH_MS}
    if "%" not in cursor.wire_format:
        return Field("since", fields.get(cursor.wire_format, Kind.ISO)).instant(told)
    local = datetime.strptime(told, cursor.wire_format).replace(tzinfo=ZoneInfo(cursor.zone))
    return max(round(local.replace(fold=fold).timestamp() * 1_000_000) for fold in (0, 1))


# --- partitions, single records, deletions, events ---


def test_parents_name_their_partitions(subject: Subject) -> None:
    """Every recorded parent has the fields that the path and `when` name."""
    stream = subject.stream
    if stream.parent is None:
        return
    above = replace(subject, stream=_stream(subject, stream.parent))
    for row in above.rows():
        for path in (*stream.parent_fields, *([stream.when] if stream.when else [])):
            demand(Field(path, Kind.TEXT).value(row) is not None, f"{stream.parent} has no $.{path}: {row}")


def test_get_gives_the_record(subject: Subject) -> None:
    """A record that is asked for by its key is the record of that key."""
    stream = subject.stream
    if stream.get is None or subject.kind != ROWS or "get" in stream.exempt:
        return
    asked = 0
    for row in subject.rows():
        key = str(Field(stream.keys[0], Kind.TEXT).value(row))
        try:
            found = stream.get(subject.door(), stream, key)
        except Unrecorded:
            continue
        asked += 1
        again = Rows.of([found])[0]
        demand(str(Field(stream.keys[0], Kind.TEXT).value(again)) == key, f"get({key!r}) gives {again}")
    demand(asked, f"no record is recorded alone: {subject.advice}")


def test_deletions_are_learnt_or_exempt(subject: Subject) -> None:
    """A stream says how its deletions are learnt, by itself or by the connector's feed."""
    if subject.kind != ROWS or "deletes" in subject.stream.exempt:
        return
    feed = subject.connector.feed
    told = feed is not None and subject.stream.name in feed.streams
    demand(
        subject.stream.deletes or told,
        "say how deletions are learnt (deletes=...), or exempt it with a reason",
    )
    rows = subject.rows()
    for flag in subject.stream.flags:
        marked = [row for row in rows if Field(flag.path, Kind.JSON).value(row) is not None]
        demand(marked, f"no recorded record has the mark $.{flag.path}")


def test_events_mean_something_known(subject: Subject) -> None:
    """Every recorded event has effects on streams that are there, in the vendor's time; every covered stream
    is named by one."""
    feed = subject.connector.feed
    if feed is None or subject.kind != FEED:
        return
    effects = [effect for event in subject.rows() for effect in feed.effects(event)]
    for effect in effects:
        demand(effect.stream in feed.streams, f"{effect}: the feed doesn't cover {effect.stream!r}")
        if isinstance(effect, Delete | Upsert):
            demand(effect.as_of in SANE, f"{effect}: as_of is not in microseconds")
        if isinstance(effect, Refetch):
            demand(_stream(subject, effect.stream).get, f"{effect}: the stream has no get")
        if isinstance(effect, Refetch | Delete):
            demand(type(effect.key) is str and effect.key, f"{effect}: a key is a text")
    silent = set(feed.streams) - {effect.stream for effect in effects}
    demand(not silent, f"no recorded event has an effect on {', '.join(sorted(silent))}")


def _stream(subject: Subject, name: str) -> Any:
    return next(one for one in subject.connector.streams_for(subject.recordings.config) if one.name == name)
