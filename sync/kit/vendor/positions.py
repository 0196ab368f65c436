"""Where in a list a request asks to begin, and how the place after a page is named."""

from collections.abc import Callable
from dataclasses import dataclass

from sync.kit.vendor.collection import Key
from sync.kit.vendor.exchange import Refusal
from sync.kit.vendor.table import Place, Row, Table
from sync.kit.vendor.times import SECOND
from sync.kit.vendor.tokens import InvalidToken, decode, encode


@dataclass(frozen=True, kw_only=True)
class Start:
    """The beginning of a page. `asof` is when the walk's first page was asked for."""

    after: Place | None = None
    skip: int = 0
    served: int = 0
    page: int = 1
    asof: int = 0
    given: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What reading a position may need to know."""

    table: Table
    parent: Key | None
    text: str
    size: int
    now: int


def read(asked: Asked) -> Start:
    """The start that a position means, an empty one the head of the list; raises Refusal."""
    if not asked.text:
        return Start(asof=asked.now)
    return READERS[asked.table.collection.paging.by](asked)


def after(start: Start, rows: list[Row], table: Table, now: int) -> str:
    """The position that follows these rows."""
    return WRITERS[table.collection.paging.by](start, rows, table, now)


def _read_token(asked: Asked) -> Start:
    try:
        place, served, page, asof, issued = decode(asked.text)
    except (InvalidToken, ValueError):
        raise Refusal(400, "invalid_cursor", f"{_param(asked)} was not made by this server") from None
    _check_expiry(asked, issued)
    return Start(after=tuple(place), served=served, page=page, asof=asof, given=asked.text)


def _check_expiry(asked: Asked, issued: int) -> None:
    paging = asked.table.collection.paging
    uses = asked.table.token_uses
    if paging.uses:
        uses[asked.text] += 1
    old = paging.expires_s is not None and asked.now - issued > paging.expires_s * SECOND
    if old or (paging.uses and uses[asked.text] > paging.uses):
        raise Refusal(paging.expired_status, "cursor_expired", f"{_param(asked)} has expired: list again")


def _read_last_id(asked: Asked) -> Start:
    row = asked.table.find(asked.text)
    if row is None or row.parent != asked.parent:
        noun = asked.table.collection.singular
        raise Refusal(400, "resource_missing", f"No such {noun}: {asked.text!r} ({_param(asked)})")
    place = asked.table.place(row)
    return Start(after=place, served=_standing_before(asked, place), asof=asked.now, given=asked.text)


def _standing_before(asked: Asked, place: Place) -> int:
    """Rows up to and with this one, from the list's head."""
    rank = asked.table.rank(asked.parent, place)
    return asked.table.size(asked.parent) - rank if asked.table.collection.descending else rank + 1


def _read_page(asked: Asked) -> Start:
    page = _number(asked, least=1)
    skip = (page - 1) * asked.size
    return Start(skip=skip, served=skip, page=page, asof=asked.now)


def _read_offset(asked: Asked) -> Start:
    skip = _number(asked, least=0)
    return Start(skip=skip, served=skip, page=skip // asked.size + 1, asof=asked.now)


def _read_sequence(asked: Asked) -> Start:
    number = _number(asked, least=0)
    return Start(after=(number + 1,), asof=asked.now, given=asked.text)


def _number(asked: Asked, least: int) -> int:
    try:
        number = int(asked.text)
    except ValueError:
        number = least - 1
    if number < least:
        raise Refusal(400, "invalid_parameter", f"{_param(asked)} must be a whole number from {least}")
    return number


def _param(asked: Asked) -> str:
    return asked.table.collection.paging.position


def _write_token(start: Start, rows: list[Row], table: Table, now: int) -> str:
    paging = table.collection.paging
    if paging.loop and start.given:
        return start.given
    place = table.place(rows[-1]) if rows else start.after or (0,)
    issued = now if paging.expires_s is not None or paging.uses else 0
    return encode(place, start.served + len(rows), start.page + 1, start.asof, issued)


def _write_last_id(start: Start, rows: list[Row], table: Table, now: int) -> str:
    return str(rows[-1].key) if rows else start.given


def _write_page(start: Start, rows: list[Row], table: Table, now: int) -> str:
    return str(start.page + 1)


def _write_offset(start: Start, rows: list[Row], table: Table, now: int) -> str:
    return str(start.skip + len(rows))


def _write_sequence(start: Start, rows: list[Row], table: Table, now: int) -> str:
    return str(rows[-1].sequence) if rows else start.given or "0"


READERS: dict[str, Callable[[Asked], Start]] = {
    "token": _read_token,
    "last_id": _read_last_id,
    "page": _read_page,
    "offset": _read_offset,
    "sequence": _read_sequence,
}
WRITERS: dict[str, Callable[[Start, list[Row], Table, int], str]] = {
    "token": _write_token,
    "last_id": _write_last_id,
    "page": _write_page,
    "offset": _write_offset,
    "sequence": _write_sequence,
}
