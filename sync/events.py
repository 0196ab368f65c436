"""Events: what stands in a delivery, and what the connector says that it means. No database, no vendor.

headers, body ─▶ decoded ─▶ events ─▶ by name: ignored | unknown | effects ─▶ meaning
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from connectors import Event, InBody, InHeader, Json, Place, TidelockError, Webhook
from sync.effects import Meaning, Records

MOST = 10_000  # events of one delivery
LONGEST = 200  # characters of a name

_headers = msgspec.json.Decoder(dict[str, str])
_body = msgspec.json.Decoder()
_UNREADABLE = (ValueError, RecursionError)  # msgspec's errors, and those of UTF-8, are ValueErrors


class Unreadable(TidelockError):
    """A delivery that can't be read, or that the connector can't: where, and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{why} (at {path})")
        self.path = path


@dataclass(slots=True)
class Understood:
    """What a delivery comes to.

    name     of its first event
    events   how many are in it; `ignored` are of no concern, `unknown` are names that nobody knows
    """

    meaning: Meaning = field(default_factory=Meaning)
    name: str = ""
    events: int = 0
    ignored: int = 0
    unknown: list[str] = field(default_factory=list)


def understand(webhook: Webhook, records: Records, headers: str, body: bytes) -> Understood:
    """What this delivery comes to; Unreadable where nobody can say."""
    understood = Understood()
    for path, event in _events(webhook, headers, body):
        if not understood.events:
            understood.name = event.name
        understood.events += 1
        if webhook.ignores(event.name):
            understood.ignored += 1
        elif not webhook.understands(event.name):
            understood.unknown.append(event.name)
        else:
            understood.meaning.merge(_meaning(webhook, records, path, event))
    return understood


def _meaning(webhook: Webhook, records: Records, path: str, event: Event) -> Meaning:
    try:
        return records.meaning(webhook.effects(event))
    except TidelockError as error:
        raise Unreadable(path, f"the connector makes no sense of it: {error}") from error
    except Exception as error:  # a connector may raise anything
        raise Unreadable(path, f"the connector can't read it: {type(error).__name__}: {error}") from error


def _events(webhook: Webhook, headers: str, body: bytes) -> Iterator[tuple[str, Event]]:
    """The events of a delivery, each with its JSON path."""
    about = _decoded_headers(headers)
    whole = _decoded(body)
    for path, one in _several(webhook.each, whole):
        if not isinstance(one, dict):
            raise Unreadable(path, "an event is a JSON object")
        yield path, Event(one, _name(webhook.name, about, one, whole), about)


def _decoded_headers(text: str) -> dict[str, str]:
    try:
        return _headers.decode(text)
    except _UNREADABLE as error:
        why = f"its headers can't be read: {error}" if text else "its content was dropped for its age"
        raise Unreadable("$", why) from error


def _decoded(body: bytes) -> Json:
    """Some vendors say all in the headers: no body is an empty event."""
    try:
        body.decode()
        return _body.decode(body) if body.strip() else {}
    except UnicodeDecodeError as error:
        raise Unreadable("$", f"the body is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise Unreadable("$", "the body is nested too deep") from error
    except _UNREADABLE as error:
        raise Unreadable("$", f"the body can't be read as JSON: {error}") from error


def _several(each: str | None, whole: Json) -> Iterable[tuple[str, Json]]:
    if each is None:
        return [("$", whole)]
    path = f"$.{each}" if each else "$"
    found = _at(whole, each) if each else whole
    if not isinstance(found, list):
        raise Unreadable(path, "here stands no list of events")
    if len(found) > MOST:
        raise Unreadable(path, f"here stand {len(found):,} events; {MOST:,} are possible")
    return [(f"{path}[{index}]", one) for index, one in enumerate(found)]


def _name(place: Place, headers: Mapping[str, str], event: Json, whole: Json) -> str:
    """The event's name: its own, else that of the delivery around it; "" where there is none."""
    found: Any = None
    if isinstance(place, InHeader):
        found = headers.get(place.name.lower())
    elif isinstance(place, InBody):
        found = _at(event, place.path)
        found = _at(whole, place.path) if found is None else found
    return str(found)[:LONGEST] if isinstance(found, str | int | float) else ""


def _at(value: Json, path: str) -> Json:
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
