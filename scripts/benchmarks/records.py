"""The bench's records: deterministic JSON of about 596 bytes and 16 fields, made from an index.

`record(5)` is always the same bytes. Record i was updated one second after record i - 1, so index order is
the order of (updated_at, id). A changed record has another amount and was updated half a second later: its
place in the order stays, so changes lie spread evenly over the pages.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

FIRST_UPDATE = datetime(2026, 1, 1, tzinfo=UTC)
CHANGED_EVERY = 100

FIRST_NAMES = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Tim", "Frances", "Ken")
LAST_NAMES = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Perlman", "Lee", "Allen", "Ray")
CITIES = ("Lisbon", "Oslo", "Vienna", "Porto", "Ghent", "Turin", "Malmo", "Basel", "Leiden", "Cork")
STATUSES = ("draft", "open", "paid", "void")
CURRENCIES = ("eur", "usd", "gbp")

TEMPLATE = (
    '{"id":"rec_%08d","type":"invoice","created_at":"%s","updated_at":"%s","name":"%s","email":"%s",'
    '"status":"%s","currency":"%s","amount":%d,"tax_rate":%s,"paid":%s,'
    '"address":{"line1":"%d Harbour Street","line2":null,"city":"%s","postal_code":"%05d","country":"PT"},'
    '"tags":["tag-%d","tag-%d","priority"],'
    '"description":"Quarterly subscription \\u2013 seat licences, \\"standard\\" plan, '
    'reference %08x and plainer prose","url":"https://example.test/invoices/rec_%08d","parent_id":%s}'
)


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    return (FIRST_UPDATE + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:")


def timestamp(microseconds: int) -> str:
    """ISO 8601 in UTC with microseconds, that many microseconds after FIRST_UPDATE."""
    minutes, rest = divmod(microseconds, 60_000_000)
    return "%s%02d.%06dZ" % (_minute(minutes), *divmod(rest, 1_000_000))  # noqa: UP031 - twice as fast


def updated_at(index: int, *, changed: bool) -> int:
    """Microseconds after FIRST_UPDATE at which record `index` was last updated."""
    return index * 1_000_000 + (500_000 if changed else 0)


def record(index: int, *, changed: bool = False) -> bytes:
    """The JSON of record `index`; with `changed`, as it stands after its one change."""
    mixed = index * 2654435761 & 0xFFFFFFFF
    first, last = FIRST_NAMES[mixed % 10], LAST_NAMES[mixed // 10 % 10]
    text = TEMPLATE % (
        index,
        timestamp(index * 250_000),
        timestamp(updated_at(index, changed=changed)),
        f"{first} {last}",
        f"{first}.{last}.{index}@example.test".lower(),
        STATUSES[mixed % 4],
        CURRENCIES[mixed % 3],
        mixed % 1_000_000 + changed,
        mixed % 2500 / 10_000,
        "true" if mixed & 64 else "false",
        mixed % 999,
        CITIES[mixed // 100 % 10],
        mixed % 99_999,
        mixed % 7,
        mixed % 11,
        mixed,
        index,
        "null" if mixed & 3 else f'"rec_{index // 2:08d}"',
    )
    return text.encode()


def is_changed(index: int, phase: str) -> bool:
    """Whether record `index` in `phase` differs from what phase a served: in c, one in a hundred does."""
    return phase == "c" and index % CHANGED_EVERY == CHANGED_EVERY // 2
