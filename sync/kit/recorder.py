"""The recorder: real pages of a stream, scrubbed and shortened, as files for the contract suite."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from connectors import Api, Ask, Connector, Json, Page, Reply, Rows, Stream, TidelockError
from connectors._fields import Field, Kind
from sync.kit.recording import CONNECTION, Exchange, Request, Response, write
from sync.kit.replay import Replay
from sync.lists import DELETES, FEED, ROWS, list_of

KEPT = re.compile("date|etag|link|retry-after|.*rate-?limit.*")  # headers that connectors look at
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
SECRET = re.compile(r"\b(?:sk|rk|whsec|ghp|gho|ghs|github_pat|xox[bap]|shpat|pat|key)[_-][\w-]{12,}")
SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:secret|password|api_?key|access_token|refresh_token|authorization|private_key|iban|ssn)s?$"
)
PERSON_NAME = re.compile(r"(?i)(?:^|_)(?:name|first_?name|last_?name|full_?name|phone|line1|line2|street|login)$")


class Recorder:
    """An `Api` that remembers what was asked and answered."""

    def __init__(self, api: Api) -> None:
        self.exchanges: list[Exchange] = []
        self._api = api

    def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """Ask, and remember."""
        return self._kept(Request.of("GET", path, params), self._api.get(path, params))

    def post(self, path: str, json: Json, params: Mapping[str, Json] | None = None) -> Reply:
        """As `get`."""
        return self._kept(Request.of("POST", path, params, json), self._api.post(path, json, params))

    def send(self, method: str, path: str, **body: Any) -> Reply:
        """What changes something at the vendor is not recorded."""
        raise TidelockError(f"{method} {path} would change something: only what is read is recorded")

    def _kept(self, request: Request, reply: Reply) -> Reply:
        headers = {name: value for name, value in reply.headers.items() if KEPT.fullmatch(name)}
        self.exchanges.append(Exchange(request, Response(reply.status, headers, reply.body)))
        return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrub:
    """What of a recording is not for other eyes. Equal values become equal values.

    secrets  texts to be removed wherever they are: the connection's own
    names    also names, phones, streets and logins
    """

    secrets: Sequence[str] = ()
    names: bool = False
    origin: str = field(default="https://recorded.invalid")

    def exchange(self, exchange: Exchange) -> Exchange:
        """The exchange with every text in it scrubbed."""
        request, response = exchange.request, exchange.response
        params = tuple((name, self.text(value)) for name, value in request.params)
        headers = {name: self._moved(self.text(value)) for name, value in response.headers.items()}
        return Exchange(
            replace(request, path=self.text(request.path), params=params),
            replace(response, headers=headers, body=self._body(response.body)),
        )

    def text(self, text: str) -> str:
        """A text without secrets and addresses of people."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "***")
        return EMAIL.sub(_someone, SECRET.sub("***", text))

    def _moved(self, text: str) -> str:
        """Links lead nowhere real."""
        return re.sub(r"https?://[^/>\s]+", self.origin, text)

    def _body(self, body: bytes) -> bytes:
        try:
            return msgspec.json.encode(self._value("", msgspec.json.decode(body)))
        except msgspec.DecodeError:
            return self.text(body.decode("utf-8", "replace")).encode()

    def _value(self, name: str, value: Json) -> Json:
        if isinstance(value, dict):
            return {self.text(key): self._value(key, below) for key, below in value.items()}
        if isinstance(value, list):
            return [self._value(name, one) for one in value]
        if not isinstance(value, str):
            return value
        if SECRET_NAME.search(name):
            return "***"
        return _alias(value) if self.names and value and PERSON_NAME.search(name) else self.text(value)


def record_lists(
    connector: Connector,
    config: Mapping[str, Json],
    door: Callable[[Stream], Api],
    folder: Path,
    *,
    partitions: int = 2,
    pages: int = 3,
    most: int = 5,
    scrub: Scrub | None = None,
) -> Iterator[Path]:
    """Record every list of a connector, parents first, a few partitions each; gives the files as they are written.

    A stream below a parent that has no record yet is left out. `door` opens the vendor for a stream.
    """
    for name, stream in _lists(connector, config):
        api = door(stream)
        asks = list(islice(_asks(connector, config, door, stream), partitions))
        if asks:
            yield record(api, stream, asks, folder, pages=pages, most=most, scrub=scrub, name=name)


def _lists(connector: Connector, config: Mapping[str, Json]) -> Iterator[tuple[str, Stream]]:
    """Every list with the name of its file."""
    for stream in connector.streams_for(config):
        yield stream.name, stream
        if stream.tombstones:
            yield f"{stream.name}.{DELETES}", list_of(connector, config, stream.name, DELETES)
    if connector.feed:
        yield FEED, list_of(connector, config, "", FEED)


def _asks(
    connector: Connector, config: Mapping[str, Json], door: Callable[[Stream], Api], stream: Stream
) -> Iterator[Ask]:
    """The first ask of each partition: of the parents on the first page that have this stream."""
    if stream.parent is None:
        yield Ask(config=config)
        return
    above = list_of(connector, config, stream.parent, ROWS)
    for ask in islice(_asks(connector, config, door, above), 1):
        for row in Rows.of(above.pull(door(above), above, ask).rows):
            if stream.where is None or stream.where(row):
                yield Ask(config=config, parent={name: row[name] for name in stream.parent_fields})


def record(
    api: Api,
    stream: Stream,
    asks: Iterable[Ask],
    folder: Path,
    *,
    pages: int = 3,
    most: int = 5,
    scrub: Scrub | None = None,
    name: str = "",
) -> Path:
    """Record the first pages of the given partitions, and one record alone where the stream has `get`.

    At most `most` records of a page are kept, where the connector then still finds its next page. The file
    `<stream>.json` (or `<name>.json`) in the folder is replaced; the configuration goes beside it.
    """
    scrub = scrub or Scrub()
    exchanges: list[Exchange] = []
    config: Mapping[str, Json] = {}
    for number, ask in enumerate(asks):
        config = ask.config
        exchanges += _pages(api, stream, ask, pages, most, alone=number == 0)
    if not exchanges:
        raise TidelockError(f"{stream.name}: there is nothing to record, not one partition")
    path = folder / f"{name or stream.name}.json"
    write(path, [scrub.exchange(one) for one in exchanges])
    if config:
        plain = {
            "config": {key: scrub.text(value) if isinstance(value, str) else value for key, value in config.items()}
        }
        (folder / CONNECTION).write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n")
    return path


def _pages(api: Api, stream: Stream, ask: Ask, pages: int, most: int, *, alone: bool) -> list[Exchange]:
    found: list[Exchange] = []
    for number in range(pages):
        recorder = Recorder(api)
        page = stream.pull(recorder, stream, ask)
        rows = Rows.of(page.rows)
        found += _shortened(recorder.exchanges, stream, ask, page, most)
        if number == 0 and alone and stream.get and len(rows):
            found += _alone(api, stream, rows[0])
        if page.next is None:
            break
        ask = replace(ask, page=page.next)
    return found


def _alone(api: Api, stream: Stream, row: Json) -> list[Exchange]:
    recorder = Recorder(api)
    get: Callable[..., Any] = stream.get or (lambda *_: None)
    get(recorder, stream, str(Field(stream.keys[0], Kind.TEXT).value(row)))
    return recorder.exchanges


def _shortened(exchanges: list[Exchange], stream: Stream, ask: Ask, page: Page, most: int) -> list[Exchange]:
    """The exchange with its first records and the last, if the connector goes on from it just the same."""
    if len(exchanges) != 1 or not isinstance(page.rows, Rows) or len(page.rows) <= most:
        return exchanges
    few = Rows([*page.rows.raws[: most - 1], page.rows.raws[-1]])
    response = exchanges[0].response
    short = [Exchange(exchanges[0].request, replace(response, body=response.body.replace(page.rows.array, few.array)))]
    return short if stream.pull(Replay(short), stream, ask).next == page.next else exchanges


def _someone(found: re.Match[str]) -> str:
    return f"{_alias(found[0]).lower()}@example.com"


def _alias(value: str) -> str:
    return f"Someone-{blake2b(value.encode(), digest_size=3).hexdigest()}"
