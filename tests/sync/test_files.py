"""The door to a folder: what is in it is listed and read, what is outside is not."""

import os
from pathlib import Path

import pytest

from connectors import Connector, ContractError, NoAuth, Option, Outcome
from sync.door import Account, Means, OutcomeError
from sync.doors import open_door
from sync.files import FilesApi
from sync.settings import Settings

CONNECTOR = Connector(base_url="file:{folder}", streams=(), auth=NoAuth(), options={"folder": Option("where")})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "exports"
    made.mkdir()
    return made


@pytest.fixture
def api(folder):
    return opened(folder)


def opened(folder, **settings):
    account = Account(connection_id=1, connection="exports", config={"folder": str(folder)})
    return open_door("files", CONNECTOR, account, Means(settings=Settings(**settings)))


def put(path: Path, data: bytes = b"x", modified: int = 1_700_000_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(0, modified * 10**9))
    return path


def names(found):
    return [one["path"] for one in found]


def test_a_folder_is_opened_by_its_scheme(api):
    assert isinstance(api, FilesApi)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ContractError, match="missing"):
        opened(tmp_path / "missing")


def test_files_are_listed_by_path(folder, api):
    put(folder / "b.csv", b"12345")
    put(folder / "a" / "z.csv")
    put(folder / "a.csv")
    put(folder / "a.txt")
    assert names(api.list("**/*.csv")) == ["a.csv", "a/z.csv", "b.csv"]
    assert names(api.list("*.csv")) == ["a.csv", "b.csv"]
    found = {"path": "b.csv", "name": "b.csv", "size": 5, "modified": 1_700_000_000_000_000}
    assert api.list("b.csv") == [found]


def test_hidden_and_unfinished_files_and_folders_are_left_out(folder, api):
    for path in (".hidden", "x.tmp", "x.PART", ".git/config", "sub/.x/y.csv"):
        put(folder / path)
    (folder / "folder.csv").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "nowhere").symlink_to(folder / "gone")
    assert api.list("**/*") == []


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../../*"])
def test_a_pattern_that_leads_out_is_refused(api, pattern):
    with pytest.raises(ContractError, match="leads out"):
        api.list(pattern)


def test_a_file_is_read_in_parts(folder, api):
    put(folder / "a.csv", b"0123456789")
    assert api.read("a.csv", 0, 4) == (b"0123", False)
    assert api.read("a.csv", 4, 6) == (b"456789", True)
    assert api.read("a.csv", 10, 4) == (b"", True)
    assert (api.requests, api.bytes) == (3, 10)


def test_an_empty_file_is_at_its_end(folder, api):
    put(folder / "a.csv", b"")
    assert api.read("a.csv", 0, 4) == (b"", True)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "link", "linked/secret", "a\0b"])
def test_nothing_outside_is_read(folder, api, path):
    put(folder.parent / "secret", b"canary")
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "linked").symlink_to(folder.parent)
    with pytest.raises(OutcomeError) as caught:
        api.read(path, 0, 10)
    assert caught.value.outcome is Outcome.FAIL_STREAM


def test_a_link_inside_is_read(folder, api):
    put(folder / "a.csv", b"abc")
    (folder / "latest.csv").symlink_to(folder / "a.csv")
    assert api.read("latest.csv", 0, 10) == (b"abc", True)


def test_a_pipe_does_not_hold_the_worker(folder, api):
    os.mkfifo(folder / "pipe")
    with pytest.raises(OutcomeError, match="no file"):
        api.read("pipe", 0, 10)


@pytest.mark.parametrize("path", ["gone.csv", "a.csv/below"])
def test_a_file_that_is_gone_is_gone(folder, api, path):
    put(folder / "a.csv")
    with pytest.raises(OutcomeError) as caught:
        api.read(path, 0, 10)
    assert caught.value.outcome is Outcome.GONE


def replaced(path):
    put(path.with_name("new"), b"0123456789")
    path.with_name("new").replace(path)


CHANGES = {
    "replaced": replaced,
    "shortened": lambda path: put(path, b"01234", 1_700_000_001),
    "rewritten": lambda path: put(path, b"abcdefghij", 1_700_000_001),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_restarts_the_pass_and_is_then_read_anew(folder, api, change):
    path = put(folder / "a.csv", b"0123456789")
    api.read("a.csv", 0, 5)
    CHANGES[change](path)
    with pytest.raises(OutcomeError) as caught:
        api.read("a.csv", 5, 5)
    assert caught.value.outcome is Outcome.RESTART_PASS
    assert api.read("a.csv", 0, 5)[0] == path.read_bytes()[:5]


def test_what_is_appended_under_way_is_read_too(folder, api):
    path = put(folder / "a.csv", b"01234")
    api.read("a.csv", 0, 3)
    put(path, b"0123456789", 1_700_000_001)
    assert api.read("a.csv", 3, 100) == (b"3456789", True)


def test_a_file_that_is_not_as_it_was_listed_restarts_the_pass(folder, api):
    put(folder / "a.csv", b"01234")
    (listed,) = api.list("a.csv")
    assert api.read("a.csv", 0, 10, expect=listed)[1]
    put(folder / "a.csv", b"0123456789", 1_700_000_001)
    with pytest.raises(OutcomeError) as caught:
        opened(folder).read("a.csv", 0, 10, expect=listed)
    assert caught.value.outcome is Outcome.RESTART_PASS


def test_a_whole_file_is_an_answer_as_of_when_it_was_read(folder, api):
    put(folder / "a.json", b'{"rows":[1]}')
    reply = api.get("a.json")
    assert list(reply.rows("rows")) == [1]
    assert reply.as_of == api.as_of >= api.asked_at > 1_700_000_000_000_000
    assert reply.extra == {"clock": "ours"}


def test_no_more_is_read_at_once_than_an_answer_may_have(folder):
    put(folder / "a.json", b"x" * 11)
    api = opened(folder, max_body=10)
    with pytest.raises(OutcomeError, match="TIDELOCK_MAX_BODY") as caught:
        api.get("a.json")
    assert caught.value.outcome is Outcome.FAIL_STREAM
    with pytest.raises(ContractError, match="TIDELOCK_MAX_BODY"):
        api.read("a.json", 0, 11)


def test_nothing_is_posted_to_a_folder(api):
    with pytest.raises(ContractError, match="posted"):
        api.post("a", {})
