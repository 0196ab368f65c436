"""Cutting JSON where the fast decoder gives up: a page with one record that can't be decoded still has its neighbours.

Only structure is looked at (strings, brackets, commas), in constant depth, so that neither a lone surrogate nor a
record nested a million deep costs more than itself.
"""

import re
from collections.abc import Iterator

from connectors._errors import ContractError

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s"\[\]{}:,]+', re.DOTALL)
_CLOSES = {b"[": b"]", b"{": b"}"}


def elements(raw: bytes) -> list[bytes]:
    """The elements of a JSON array as they were written; ContractError where it is none."""
    return [raw[begin:end] for begin, end in _pieces(raw, b"[")]


def members(raw: bytes) -> dict[str, bytes]:
    """The members of a JSON object as they were written; ContractError where it is none."""
    found = {}
    for begin, end in _pieces(raw, b"{"):
        name = _TOKEN.match(raw, begin)
        colon = _TOKEN.search(raw, name.end()) if name else None
        if name is None or colon is None or colon[0] != b":" or name[0][:1] != b'"':
            raise ContractError("the JSON is malformed: a member without a name")
        found[name[0][1:-1].decode(errors="replace")] = raw[colon.end() : end].strip()
    return found


def _pieces(raw: bytes, opening: bytes) -> Iterator[tuple[int, int]]:
    """Where each piece between the commas of the outermost bracket begins and ends."""
    open_: list[bytes] = []
    begin = end = 0
    for token in _TOKEN.finditer(raw):
        mark = token[0]
        if not open_:
            if mark != opening or end:
                raise ContractError(f"the JSON does not begin with {opening.decode()}, or goes on behind its end")
            open_.append(_CLOSES[mark])
            begin = 0
        elif mark == open_[-1]:
            open_.pop()
            if not open_:
                if begin:
                    yield begin, end
                continue
        elif mark in _CLOSES:
            open_.append(_CLOSES[mark])
            begin = begin or token.start()
        elif mark == b"," and len(open_) == 1:
            yield begin, end
            begin = 0
            end = token.end()
            continue
        begin = begin or token.start()
        end = token.end()
    if open_ or not end:
        raise ContractError("the JSON is cut short")
