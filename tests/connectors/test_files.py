"""Files: every row arrives once, wherever a page begins; what can't be read is shown, and stops nothing."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors import Ask, ContractError, Json, Stream
from connectors.files import connector, cut, piece
from sync.files import FilesApi
from tests.connectors.vendors import Between, walk

ORDERS = {"glob": "*.csv", "key": "id"}
EVENTS = {"glob": "*.jsonl", "key": "id"}


def stream(name: str = "orders", **streams: Mapping[str, Json]) -> Stream:
    config = {"streams": streams or {"orders": ORDERS}}
    return next(one for one in connector.streams_for(config) if one.name == name)


def rows(folder: Path, path: str, one: Stream | None = None, between: Between | None = None) -> list[Any]:
    """Every row of a file, each page through a door of its own, as another worker would read it."""
    ask = Ask(parent={"path": path})
    pages = walk(Doors(folder), one or stream(), ask, between=between, most=5_000)
    return [row for page in pages for row in page]


class Doors:
    """A fresh door for every read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, path: str, offset: int, size: int) -> tuple[bytes, bool]:
        return FilesApi(str(self.folder), most=2**26).read(path, offset, size)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and pages so small that everything crosses their borders."""
    monkeypatch.setattr(cut, "ROWS", 3)
    monkeypatch.setattr(piece, "PIECE", 16)
    monkeypatch.setattr(piece.read, "__defaults__", (16,))


# --- the list of files ---


def test_files_are_listed_with_the_streams_that_read_them(tmp_path: Path) -> None:
    """One file may belong to several; what no stream reads is not listed."""
    for name in ("b.csv", "a.csv", "c.jsonl", "d.txt"):
        (tmp_path / name).write_text("x")
    config = {"streams": {"orders": ORDERS, "all": {"glob": "[ac].*", "key": "id"}}}
    files, orders, everything = connector.streams_for(config)
    found = files.pull(FilesApi(str(tmp_path), most=1000), files, Ask(config=config))
    listed = {row["path"]: row["streams"] for row in found.rows}
    assert listed == {"a.csv": ["orders", "all"], "b.csv": ["orders"], "c.jsonl": ["all"]}
    assert found.next is None
    assert orders.where
    assert [orders.where(row) for row in found.rows] == [True, True, False]
    assert everything.where
    assert [everything.where(row) for row in found.rows] == [True, False, True]


def test_many_files_make_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that comes or goes between pages moves no other out of sight."""
    monkeypatch.setattr("connectors.files.PAGE", 2)
    for name in "abcde":
        (tmp_path / f"{name}.csv").write_text("x")
    config = {"streams": {"orders": ORDERS}}
    files = connector.streams_for(config)[0]
    gone = iter("ab")
    found = walk(FilesApi(str(tmp_path), most=1000), files, Ask(config=config),
                 between=lambda _: (tmp_path / f"{next(gone)}.csv").unlink())  # fmt: skip
    assert [row["name"] for page in found for row in page] == ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv"]


# --- CSV ---


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_csv_of_any_make(tmp_path: Path, newline: str, bom: str) -> None:
    """Quoted delimiters, quotes and line breaks across the borders of pieces; blank lines; no break at the end."""
    text = bom + newline.join(
        ["id,note", "1,plain", '2,"a, b"', '3,"say ""hi"""', "", '4,"two' + newline + 'lines, long enough"', "5,Zürich"]
    )
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    assert rows(tmp_path, "a.csv") == [
        {"id": "1", "note": "plain"}, {"id": "2", "note": "a, b"}, {"id": "3", "note": 'say "hi"'},
        {"id": "4", "note": f"two{newline}lines, long enough"}, {"id": "5", "note": "Zürich"},
    ]  # fmt: skip


CELLS = st.text(st.sampled_from('ab,"\n\r ;ü\t'), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 99), CELLS), max_size=12), st.sampled_from([16, 40, 200]))
def test_whatever_was_written_is_read(tmp_path: Path, table: list[tuple[int, str]], size: int) -> None:
    """Python's own writer and our pieces agree on every table and every size of piece."""
    sheet = io.StringIO()
    csv.writer(sheet).writerows([("id", "note"), *table])
    (tmp_path / "a.csv").write_bytes(sheet.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "ROWS", 2)
        patch.setattr(piece.read, "__defaults__", (size,))
        assert rows(tmp_path, "a.csv") == [{"id": str(key), "note": note} for key, note in table]


def test_declared_columns_become_their_kind(tmp_path: Path) -> None:
    """Nothing is null; what isn't of the kind stays a text, to be reported."""
    kinds = {"n": "integer", "x": "number", "b": "boolean", "j": "json", "t": "iso", "s": "text"}
    one = stream(orders={**ORDERS, "columns": kinds})
    (tmp_path / "a.csv").write_text(
        'id,n,x,b,j,t,s\n1,7,1.5,Yes,"[1, 2]",2025-01-01,7\n2,,,,,,\n3,seven,nan,maybe,{,soon,\n'
    )
    assert rows(tmp_path, "a.csv", one) == [
        {"id": "1", "n": 7, "x": 1.5, "b": True, "j": [1, 2], "t": "2025-01-01", "s": "7"},
        {"id": "2", "n": None, "x": None, "b": None, "j": None, "t": None, "s": ""},
        {"id": "3", "n": "seven", "x": "nan", "b": "maybe", "j": "{", "t": "soon", "s": ""},
    ]


@pytest.mark.usefixtures("small")
def test_malformed_lines_are_shown_and_stop_nothing(tmp_path: Path) -> None:
    """Too few fields, bytes that are no UTF-8, a quote in the wrong place: each becomes a sentence with its line."""
    (tmp_path / "a.csv").write_bytes(b'id,note\n1,ok\n2\n3,caf\xe9\n4,"x"y\n5,ok\n6,a,b\n7,ok\n')
    assert rows(tmp_path, "a.csv") == [
        {"id": "1", "note": "ok"},
        "line 3: 1 fields where the header has 2: 2",
        "line 4: not utf-8: 3,caf\\xe9",
        "line 5: ',' expected after '\"': 4,\"x\"y",
        {"id": "5", "note": "ok"},
        "line 7: 3 fields where the header has 2: 6,a,b",
        {"id": "7", "note": "ok"},
    ]


@pytest.mark.parametrize("after", [3, 2_000])
def test_quote_that_never_closes_spoils_its_own_line_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Whether the file ends soon or goes on beyond the longest record."""
    monkeypatch.setattr("connectors.files.pull.LONGEST", 4096)
    monkeypatch.setattr(piece.read, "__defaults__", (64,))
    (tmp_path / "a.csv").write_text('id,note\n1,ok\n2,"open\n' + "".join(f"{n},ok\n" for n in range(3, 3 + after)))
    found = rows(tmp_path, "a.csv")
    assert found[0] == {"id": "1", "note": "ok"}
    assert found[1] == 'line 3: unexpected end of data: 2,"open'
    assert found[2:] == [{"id": str(n), "note": "ok"} for n in range(3, 3 + after)]


def test_line_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its beginning shown, and never in memory as a whole."""
    monkeypatch.setattr("connectors.files.pull.LONGEST", 256)
    monkeypatch.setattr("connectors.files.pull.PIECE", 10)
    monkeypatch.setattr(piece.read, "__defaults__", (64,))
    for name, head, tail in (("a.csv", "id,note\n1,ok\n", "3,ok\n"), ("a.jsonl", '{"id":"1"}\n', '{"id":"3"}\n')):
        (tmp_path / name).write_text(f"{head}{'x' * 5000}\n{tail}")
        one = stream("any", any={"glob": "a.*", "key": "id"})
        found = rows(tmp_path, name, one)
        assert [row if isinstance(row, str) else row["id"] for row in found] == [
            "1", f"line {head.count(chr(10)) + 1}: longer than 256 bytes: xxxxxxxxxx", "3",
        ]  # fmt: skip


def test_header_of_ones_own_and_tabs(tmp_path: Path) -> None:
    """For files that have no first line of names; a .tsv has tabs; another encoding is declared."""
    (tmp_path / "a.tsv").write_bytes("1\tcafé\n".encode("cp1252"))
    one = stream(orders={**ORDERS, "header": ["id", "note"], "encoding": "cp1252"})
    assert rows(tmp_path, "a.tsv", one) == [{"id": "1", "note": "café"}]


def test_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    """One of them would be lost. Names that are missing are given by number."""
    (tmp_path / "a.csv").write_text("id,x,x\n1,2,3\n")
    with pytest.raises(ContractError, match=r"a\.csv: its first line names the column 'x' twice"):
        rows(tmp_path, "a.csv")
    (tmp_path / "b.csv").write_text("id,,\n1,2,3\n")
    assert rows(tmp_path, "b.csv") == [{"id": "1", "column_2": "2", "column_3": "3"}]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"id,note", b"id,note\n\n", b"\xef\xbb\xbf"])
def test_file_without_rows(tmp_path: Path, content: bytes) -> None:
    """Is read to its end, and has none."""
    (tmp_path / "a.csv").write_bytes(content)
    assert rows(tmp_path, "a.csv") == []


# --- JSON Lines ---


@pytest.mark.usefixtures("small")
def test_json_lines(tmp_path: Path) -> None:
    """Rows are the bytes that stand there; blank lines are none; what is no JSON is shown."""
    lines = [
        b'{"id": 12345678901234567890, "x": 1.10}',
        b"",
        b'{"id": "\xc3\xbc"}',
        b"{broken",
        b'{"id": "\xff"}',
        b"5",
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    one = stream("events", events=EVENTS)
    found = rows(tmp_path, "a.jsonl", one)
    assert found[:2] == [{"id": 12345678901234567890, "x": 1.1}, {"id": "ü"}]
    assert [row.partition(":")[0] for row in found[2:4]] == ["line 4", "line 5"]
    assert found[2].endswith(": {broken")
    assert found[3].endswith(': {"id": "\\xff"}')
    assert found[4] == 5


def test_deep_nesting_is_a_malformed_line(tmp_path: Path) -> None:
    """And no crash."""
    (tmp_path / "a.jsonl").write_text("[" * 100_000 + "\n" + '{"id": 1}\n')
    found = rows(tmp_path, "a.jsonl", stream("events", events=EVENTS))
    assert isinstance(found[0], str)
    assert found[1] == {"id": 1}


# --- files that change under way ---


@pytest.mark.usefixtures("small")
def test_file_that_grows_is_read_on(tmp_path: Path) -> None:
    """What was read is still there, so nothing is read twice."""
    path = tmp_path / "a.csv"
    path.write_text("id,note\n" + "".join(f"{n},{'x' * 20}\n" for n in range(20)))

    def grow(number: int) -> None:
        if number == 5:
            with path.open("a") as file:
                file.write("20,new\n")

    assert [row["id"] for row in rows(tmp_path, "a.csv", between=grow)] == [str(n) for n in range(21)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("line", ["{}9,{}\n", "{},\n"])
def test_file_that_is_rewritten_is_begun_again(tmp_path: Path, line: str) -> None:
    """Never on from the middle of another content: whole lines only, all of the new ones, whatever their length."""
    path = tmp_path / "a.csv"
    path.write_text("id,note\n" + "".join(f"{n},{'x' * 20}\n" for n in range(20)))

    def rewrite(number: int) -> None:
        if number == 3:
            path.write_text("id,note\n" + "".join(line.format(n, "y" * 23) for n in range(100, 140)))

    found = [row["id"] for row in rows(tmp_path, "a.csv", between=rewrite)]
    new = [line.format(n, "").partition(",")[0] for n in range(100, 140)]
    assert found[-40:] == new
    assert set(found[:-40]) <= {str(n) for n in range(20)}


def test_token_is_small_and_json(tmp_path: Path) -> None:
    """It is saved with every page."""
    (tmp_path / "a.csv").write_text("id,note\n" + "".join(f"{n},{'x' * 200}\n" for n in range(2_000)))
    page = stream().pull(FilesApi(str(tmp_path), most=2**26), stream(), Ask(parent={"path": "a.csv"}))
    assert len(page.rows) == cut.ROWS  # type: ignore[arg-type]  # a list here
    token = msgspec.json.decode(msgspec.json.encode(page.next))
    assert token == page.next
    assert token["line"] == cut.ROWS + 2
    assert len(msgspec.json.encode(token)) < 200


# --- the configuration ---


@pytest.mark.parametrize(
    ("streams", "sentence"),
    [
        (None, "option streams: name what is to be read"),
        ({}, "option streams: name what is to be read"),
        ({"orders": "*.csv"}, "option streams.orders: give glob and key"),
        ({"orders": {"glob": "*.csv"}}, "option streams.orders: give glob and key"),
        ({"orders": {**ORDERS, "colums": {}}}, "streams.orders.colums: there is no such setting, only columns,"),
        ({"orders": {**ORDERS, "name": "x"}}, "streams.orders.name: there is no such setting"),
        ({"orders": {**ORDERS, "columns": {"a": "float"}}}, "columns: .* is not a mapping of columns to text, integer"),
        ({"orders": {**ORDERS, "key": []}}, "key: .* is not a column or a list of columns"),
        ({"orders": {**ORDERS, "delimiter": "::"}}, "delimiter: '::' is not one character"),
        ({"orders": {**ORDERS, "format": "xml"}}, "format: 'xml' is not csv or jsonl"),
        ({"orders": {**ORDERS, "encoding": "utf-16"}}, "encoding: 'utf-16' is not an encoding"),
        ({"orders": {**ORDERS, "encoding": "klingon"}}, "encoding: 'klingon' is not an encoding"),
        ({"files": ORDERS}, "two streams are called 'files'"),
        ({"My Orders": ORDERS}, "lower-case identifier"),
    ],
)
def test_wrong_setting_is_named(streams: Json, sentence: str) -> None:
    """By its place in the configuration."""
    with pytest.raises(ContractError, match=sentence):
        connector.streams_for({"streams": streams})


def test_file_of_no_known_suffix_needs_a_format(tmp_path: Path) -> None:
    """Guessing would make rubbish of it."""
    (tmp_path / "a.dat").write_text("id\n1\n")
    with pytest.raises(ContractError, match=r"streams.orders.format: a.dat ends in none of csv, jsonl"):
        rows(tmp_path, "a.dat", stream(orders={"glob": "*", "key": "id"}))
    assert rows(tmp_path, "a.dat", stream(orders={"glob": "*", "key": "id", "format": "csv"})) == [{"id": "1"}]


def test_column_names_are_made_for_sql() -> None:
    """Order No becomes order_no."""
    one = stream(orders={**ORDERS, "columns": {"Order No": "text", "Amount (EUR)": "number"}})
    assert [column.name for column in one.columns] == ["order_no", "amount_eur"]


def test_names_with_odd_letters_are_read(tmp_path: Path) -> None:
    """A path is a path, not a URL."""
    name = "2025 #1 & ü%20.csv"
    (tmp_path / name).write_text("id\n1\n")
    assert rows(tmp_path, name) == [{"id": "1"}]
    os.utime(tmp_path / name, (1, 1))
