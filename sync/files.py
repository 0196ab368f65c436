"""The door to a folder: files are listed and read in parts, and nothing outside the folder is.

A file has no clock of its vendor: the state of a file is as of the moment when we began to read it, by our
clock.
"""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from connectors import Connector, ContractError, Json, Outcome, Reply
from sync.door import Account, Means, OutcomeError

MICROSECOND = 1_000_000
_UNFINISHED = (".tmp", ".part")


class FilesApi:
    """A door to the files below one folder. For one thread.

    requests, bytes, waited  parts read, their bytes, and 0: nobody limits a folder
    as_of, asked_at          our clock when the last, and the first, list or read began, in microseconds since
    1970
    """

    def __init__(self, folder: str, *, most: int) -> None:
        self.requests = 0
        self.bytes = 0
        self.waited = 0.0
        self.etag: str | None = None
        self.seen_etag: str | None = None
        self.unchanged = False
        self.asked_at: int | None = None
        self.as_of: int | None = None
        self._most = most
        self._root = _folder(folder)
        self._seen: dict[str, _State] = {}

    def list(self, pattern: str) -> "list[dict[str, Json]]":
        """The files that match a pattern such as "*.csv" or "orders/**/*.jsonl", sorted by path.

        {"path": relative, with slashes; "name"; "size": bytes; "modified": microseconds since 1970}. Hidden
        files and unfinished ones (.tmp, .part) are left out.
        """
        self._asked()
        if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise ContractError(f"the pattern {pattern!r} leads out of the folder")
        return sorted(self._matches(pattern), key=lambda found: str(found["path"]))

    def read(self, path: str, offset: int, size: int, expect: Mapping[str, Json] | None = None) -> tuple[bytes, bool]:
        """At most `size` bytes of a file from `offset` on, and whether they reach its end.

        A file may grow while it is read: what was appended is read too. Raises OutcomeError RESTART_PASS
        where it was replaced, shortened or written anew since this door first read it, or is not what `list`
        described (`expect`); GONE where it is there no more.
        """
        self._asked()
        if size > self._most:
            raise ContractError(f"a part of {size:,} bytes is above TIDELOCK_MAX_BODY ({self._most:,})")
        with self._open(path) as stream:
            self._same(path, stream, expect)
            stream.seek(offset)
            data = stream.read(size)
            now = self._same(path, stream, None)
        self.requests += 1
        self.bytes += len(data)
        return data, offset + len(data) >= now.size

    def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """A whole file as an answer; OutcomeError FAIL_STREAM where it is larger than an answer may be."""
        data, whole = self.read(path, 0, self._most)
        if not whole:
            raise OutcomeError(
                Outcome.FAIL_STREAM,
                f"the file {path} is larger than {self._most:,} bytes: raise TIDELOCK_MAX_BODY",
            )
        return Reply(200, {}, data, f"file:{path}", self.as_of or 0, {"clock": "ours"})

    def post(self, path: str, json: Json, params: Mapping[str, Json] | None = None) -> Reply:
        """A folder answers no question."""
        raise ContractError(f"{path}: a folder is listed and read, nothing can be posted to it")

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        form: Mapping[str, Json] | None = None,
        params: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Nothing is changed in a folder."""
        raise ContractError(f"{path}: a folder is listed and read, nothing is changed in it")

    def _asked(self) -> None:
        self.as_of = time.time_ns() // 1000
        if self.asked_at is None:
            self.asked_at = self.as_of

    def _matches(self, pattern: str) -> "Iterator[dict[str, Json]]":
        for found in self._root.glob(pattern):
            path = found.relative_to(self._root)
            if any(part.startswith(".") for part in path.parts) or path.name.lower().endswith(_UNFINISHED):
                continue
            try:
                state = found.stat()
            except FileNotFoundError:
                continue  # it went while we looked, or is a link to nothing: there is nothing to read
            if stat.S_ISREG(state.st_mode):
                yield {
                    "path": path.as_posix(),
                    "name": path.name,
                    "size": state.st_size,
                    "modified": state.st_mtime_ns // 1000,
                }

    def _open(self, path: str) -> BinaryIO:
        inside = self._inside(path)
        try:
            # A pipe in the folder must not hold the worker, and what was resolved must still be no link.
            handle = os.open(inside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise OutcomeError(Outcome.GONE, f"the file {path} is no longer in {self._root}") from None
        except OSError as error:
            raise OutcomeError(Outcome.FAIL_STREAM, f"the file {path} can't be read: {error.strerror}") from error
        stream = os.fdopen(handle, "rb")
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            stream.close()
            raise OutcomeError(Outcome.FAIL_STREAM, f"{path} is no file")
        return stream

    def _inside(self, path: str) -> Path:
        """The real place of the file; OutcomeError where that is outside the folder."""
        if "\0" in path:
            raise OutcomeError(Outcome.FAIL_STREAM, f"{path!r} is no path")
        real = (self._root / path).resolve()
        if not real.is_relative_to(self._root):
            raise OutcomeError(Outcome.FAIL_STREAM, f"{path} leads out of the folder {self._root}")
        return real

    def _same(self, path: str, stream: BinaryIO, expect: Mapping[str, Json] | None) -> "_State":
        """The file's state, after which it may only have grown."""
        found = _State.of(stream)
        known = self._seen.get(path, found)
        if not found.continues(known) or (expect and not found.is_as(expect)):
            self._seen.pop(path, None)
            raise OutcomeError(Outcome.RESTART_PASS, f"the file {path} changed while it was read")
        self._seen[path] = found
        return found


class _State(NamedTuple):
    """What tells one content of a file from another; `modified` in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, stream: BinaryIO) -> "_State":
        state = os.fstat(stream.fileno())
        return cls(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)

    def continues(self, known: "_State") -> bool:
        """The same, or the same file grown. Whether its beginning stayed is for the reader to see."""
        same_file = self[:2] == known[:2]
        return same_file and (self.size > known.size or self[2:] == known[2:])

    def is_as(self, listed: Mapping[str, Json]) -> bool:
        return (self.size, self.modified // 1000) == (listed["size"], listed["modified"])


def open_folder(connector_name: str, connector: Connector, account: Account, base: str, means: Means) -> FilesApi:
    """The door to the folder that a base URL such as "file:/data/exports" names."""
    return FilesApi(base.partition(":")[2], most=means.settings.max_body)


def _folder(text: str) -> Path:
    """The real folder; ContractError names it where there is none."""
    folder = Path(text.removeprefix("//") if text.startswith("///") else text).expanduser()
    if not folder.is_dir():
        raise ContractError(f"there is no folder {folder}: make it, or correct the connection's folder")
    return folder.resolve()
