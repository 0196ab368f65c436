"""One page of a file's rows."""

from collections.abc import Callable, Mapping
from typing import Any

from connectors import Ask, Page, Stream
from connectors.files.cut import Cut, cut_csv, cut_jsonl, malformed
from connectors.files.piece import LONGEST, PIECE, Bytes, Piece, Place, read
from connectors.files.source import Source

CUTS: Mapping[str, Callable[[Piece, Source, str, bool], Cut]] = {"csv": cut_csv, "jsonl": cut_jsonl}


def rows_of(source: Source) -> Callable[[Any, Stream, Ask], Page]:
    """A pull function for the rows of one file, the parent that the ask names.

    A line that is none of the format's is a row that is no record, but a sentence with the line in it.
    """

    def pull(api: Bytes, stream: Stream, ask: Ask) -> Page:
        path: str = (ask.parent or {})["path"]
        cut_rows, place = CUTS[source.format_of(path)], Place.of(ask.page)
        piece = read(api, path, place, source.encoding)
        cut = cut_rows(piece, source, path, False)
        if not piece.taken and not piece.at_end:
            piece = read(api, path, place, source.encoding, LONGEST)
            cut = cut_rows(piece, source, path, True)
        if piece.taken or piece.at_end or piece.place.inside:
            return _page(cut.rows, piece.following(cut.header))
        endless = malformed(piece, 0, f"longer than {LONGEST} bytes", piece.data[:PIECE])
        return _page([endless], piece.beyond(cut.header))

    return pull


def _page(rows: list[Any], following: Place | None) -> Page:
    return Page(rows, following.token() if following else None)
