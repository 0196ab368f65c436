"""A piece of a file, and the place in the file where it begins."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Protocol, Self

from connectors import Json

PIECE = 256 * 1024  # bytes read at once
LONGEST = 16 * 1024 * 1024  # bytes that one record may have
TAIL = 256  # bytes before a place, at most, by which it is known again
_BOM = b"\xef\xbb\xbf"


class Bytes(Protocol):
    """The door to the folder, where paths are relative to it."""

    def read(self, path: str, offset: int, size: int) -> tuple[bytes, bool]:
        """Up to `size` bytes from `offset`, and whether the file ends with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page begins: the page token.

    tail      how many bytes before it, and their digest: while they stay, the file was at most appended to
    line      the number of its first line, from 1
    header    the columns that the file's first line names
    inside    it is amid a line that was too long; the rest of that line is dropped
    restarts  how often the file was rewritten under way, and begun again
    """

    offset: int = 0
    tail: tuple[int, str] = (0, "")
    line: int = 1
    header: tuple[str, ...] = ()
    inside: bool = False
    restarts: int = 0

    @classmethod
    def of(cls, token: Json) -> Self:
        return cls(**{**token, "tail": tuple(token["tail"]), "header": tuple(token["header"])}) if token else cls()

    def token(self) -> dict[str, Json]:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**plain, "tail": [*self.tail], "header": [*self.header]}


@dataclass(slots=True)
class Piece(Iterator[str]):
    """The whole lines of a piece, handed out as text one by one, and counted.

    Bytes that are no text in its encoding become lone surrogates; `is_text` says whether there are any.
    """

    data: bytes
    at_end: bool
    place: Place
    encoding: str
    lines: list[bytes] = field(init=False)
    is_text: bool = field(init=False)
    taken: int = 0
    ran_out: bool = False

    def __post_init__(self) -> None:
        self.lines = self.data.splitlines(keepends=True)
        if self.lines and not self.at_end and not self.lines[-1].endswith(b"\n"):
            self.lines.pop()  # the rest of it, or of its line break, is in the next piece
        self.is_text = is_text(b"".join(self.lines), self.encoding)

    def __next__(self) -> str:
        if self.taken == len(self.lines):
            self.ran_out = True
            raise StopIteration
        self.taken += 1
        return self._text(self.lines[self.taken - 1])

    def _text(self, line: bytes) -> str:
        if self.place.offset == 0 and self.taken == 1:
            line = line.removeprefix(_BOM)
        return line.decode(self.encoding, "surrogateescape")

    @property
    def number(self) -> int:
        """The number of the next line."""
        return self.place.line + self.taken

    def since(self, start: int) -> bytes:
        """The lines taken after so many."""
        return b"".join(self.lines[start : self.taken])

    def rewind(self, taken: int) -> None:
        self.taken, self.ran_out = taken, False

    def following(self, header: tuple[str, ...]) -> Place | None:
        """The place after the lines taken; None at the end of the file."""
        used = sum(map(len, self.lines[: self.taken]))
        return None if self.at_end and used == len(self.data) else self._after(used, header, self.taken)

    def beyond(self, header: tuple[str, ...]) -> Place | None:
        """The place after all of it, amid a line that doesn't end."""
        return None if self.at_end else replace(self._after(len(self.data), header, 0), inside=True)

    def _after(self, used: int, header: tuple[str, ...], lines: int) -> Place:
        return replace(
            self.place,
            offset=self.place.offset + used,
            tail=_tail(self.data[max(0, used - TAIL) : used]),
            line=self.place.line + lines,
            header=header,
            inside=self.place.inside and not lines,
        )


def read(api: Bytes, path: str, place: Place, encoding: str, size: int = PIECE) -> Piece:
    """The piece at a place, or at the file's beginning if it was rewritten since the place was noted."""
    before, _ = place.tail
    data, at_end = api.read(path, place.offset - before, size + before)
    if before and _tail(data[:before]) != place.tail:
        return read(api, path, Place(restarts=place.restarts + 1), encoding, size)
    data = data[before:]
    if place.inside:
        return _past_line(Piece(data, at_end, place, encoding))
    return Piece(data, at_end, place, encoding)


def _past_line(piece: Piece) -> Piece:
    """The piece after the rest of a line that was too long."""
    rest = piece.data.find(b"\n") + 1 or len(piece.data)
    ends = piece.data[rest - 1 : rest] == b"\n"
    place = replace(piece.place, offset=piece.place.offset + rest, line=piece.place.line + ends, inside=not ends)
    return Piece(piece.data[rest:], piece.at_end, place, piece.encoding)


def is_text(data: bytes, encoding: str) -> bool:
    """Whether the bytes are text in this encoding."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _tail(data: bytes) -> tuple[int, str]:
    return len(data), blake2b(data, digest_size=8).hexdigest()
