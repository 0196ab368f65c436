"""The demo vendor: an account of 20,000 records in four dialects, and any number of small ones.

- `customers`: cursor paging, `updated_since`, tombstones at /v1/customers/deleted, events at /v1/events.
- `projects`: numbered pages in a Link header, ETags; a deleted one is just absent.
- `tasks` of each project: Link header, `since`; a deleted one stays, `deleted: true`.
- `orders`: a sequence number that rises with every edit; a deleted one stays, `status: "deleted"`.

Every edit is delivered as a webhook to whoever subscribes at /v1/webhooks.
"""

import random
from dataclasses import dataclass
from operator import itemgetter

from sync.kit.vendor import demo_words as words
from sync.kit.vendor.account import Account
from sync.kit.vendor.auth import Auth
from sync.kit.vendor.collection import Collection, Fields, Since, Writing, cursor, last_id, link, sequence
from sync.kit.vendor.limits import Limit
from sync.kit.vendor.post import Posting
from sync.kit.vendor.times import SECOND, Clock, moment
from sync.kit.vendor.vendor import Latency, Vendor

KEY = "demo-secret-key"
ACCOUNT_KEY = "demo-secret-key-{account}"
FIRST = moment(2026, 1, 1)
LAST = moment(2026, 10, 31)
LIMIT = Limit(rate=100, burst=20)
LATENCY = Latency(fixed_s=0.002)

COLLECTIONS = (
    Collection(
        name="customers",
        paging=cursor(),
        since=Since(param="updated_since"),
        key_format="cus_{:06d}",
        where=("email",),
        tombstones="customers_deleted",
        events="events",
        writing=Writing(required=("name",), upsert="email"),
    ),
    Collection(
        name="customers_deleted",
        path="/v1/customers/deleted",
        paging=cursor(),
        since=Since(param="since"),
        created="",
        updated="deleted_at",
    ),
    Collection(
        name="events",
        paging=last_id(),
        order="created",
        descending=True,
        since=Since(param="created_since", on="created"),
        created="created",
        updated="",
        stamps="epoch",
        retention_s=30 * 86_400,
    ),
    Collection(
        name="projects",
        paging=link(),
        rows="",
        order="id",
        moved="activity_at",
        etag=True,
        writing=Writing(required=("name",)),
    ),
    Collection(
        name="tasks",
        paging=link(),
        rows="",
        parent="projects",
        parent_field="project_id",
        stirs="activity_at",
        since=Since(param="since"),
        flag=("deleted", True),
        gone_status=200,
        writing=Writing(required=("title",)),
    ),
    Collection(
        name="orders",
        paging=sequence(),
        rows="orders",
        order="sequence",
        sequence="seq",
        key_format="ord_{:06d}",
        flag=("status", "deleted"),
        gone_status=200,
        writing=Writing(client_ids=True),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows an account has."""

    customers: int = 6_000
    projects: int = 200
    tasks: int = 11_800
    orders: int = 2_000

    def scaled(self, scale: float) -> "Size":
        """So many times as many, at least one of each."""
        counts = {name: max(1, round(count * scale)) for name, count in vars(self).items()}
        return Size(**counts)


SMALL = Size(customers=30, projects=3, tasks=12, orders=6)


def demo_vendor(
    seed: int = 1,
    scale: float = 1.0,
    *,
    limit: Limit = LIMIT,
    latency: Latency = LATENCY,
    webhooks: Posting | None = None,
    clock: Clock | None = None,
    control_token: str = "control",
) -> Vendor:
    """The demo; the same seed and scale make the same records, byte for byte."""
    size = Size().scaled(scale)

    def fill(account: Account, name: str) -> None:
        rng = random.Random(f"{seed}/{name}")  # noqa: S311 - repeatable on purpose
        furnish(account, SMALL if name else size, rng)

    return Vendor(
        COLLECTIONS,
        accounts=COLLECTIONS,
        fill=fill,
        auth=Auth(tokens=(KEY,), account_token=ACCOUNT_KEY),
        limit=limit,
        latency=latency,
        webhooks=webhooks or Posting(),
        seed=seed,
        clock=clock or _clock(),
        control_token=control_token,
    )


def furnish(account: Account, size: Size, rng: random.Random) -> None:
    """Fill an account with rows made long ago; nothing of it is an event."""
    for name, make, count in (
        ("customers", _customer, size.customers),
        ("projects", _project, size.projects),
        ("tasks", _task, size.tasks),
        ("orders", _order, size.orders),
    ):
        # Orders were numbered by their last edit, all else by its making.
        for created, updated in sorted(_times(rng, count), key=itemgetter(1 if name == "orders" else 0)):
            account.seed(name, make(rng, size), created=created, updated=updated)


def _clock() -> Clock:
    """Real time, but never before the demo's own records."""
    clock = Clock()
    behind = LAST + 86_400 * SECOND - clock.now()
    return Clock(offset_s=max(0.0, behind / SECOND))


def _times(rng: random.Random, count: int) -> list[tuple[int, int]]:
    created = [rng.randrange(FIRST, LAST) for _ in range(count)]
    return [(at, at if rng.random() < 0.3 else rng.randrange(at, LAST)) for at in created]


def _customer(rng: random.Random, size: Size) -> Fields:
    name = words.person(rng)
    return {
        "name": name,
        "email": None if rng.random() < 0.03 else words.email(rng, name),
        "country": rng.choice(words.COUNTRIES),
        "balance_cents": rng.randrange(-50_000, 500_000),
        "vip": rng.random() < 0.05,
        "tags": rng.sample(words.TAGS, rng.randrange(4)),
        "address": words.address(rng) if rng.random() < 0.9 else None,
    }


def _project(rng: random.Random, size: Size) -> Fields:
    return {
        "name": words.title(rng, 3),
        "status": rng.choice(("planned", "active", "active", "paused", "done")),
        "owner": words.person(rng) if rng.random() < 0.9 else None,
        "description": words.title(rng, 20),
    }


def _task(rng: random.Random, size: Size) -> Fields:
    return {
        # Squared, so that a few projects are long and many are short.
        "project_id": 1 + int(rng.random() ** 2 * size.projects),
        "title": words.title(rng, rng.randrange(8, 24)),
        "done": rng.random() < 0.4,
        "estimate_hours": rng.choice((None, *(quarter / 4 for quarter in range(1, 40)))),
        "assignee": words.person(rng) if rng.random() < 0.8 else None,
        "due_on": words.date(rng) if rng.random() < 0.7 else None,
        "deleted": False,
    }


def _order(rng: random.Random, size: Size) -> Fields:
    lines = [words.line(rng) for _ in range(rng.randrange(1, 5))]
    return {
        "customer_id": f"cus_{rng.randrange(size.customers) + 1:06d}",
        "status": rng.choice(("open", "paid", "paid", "shipped", "refunded")),
        "currency": rng.choice(("EUR", "USD", "GBP", "JPY")),
        "amount_cents": sum(one["quantity"] * one["unit_cents"] for one in lines),
        "lines": lines,
        "note": words.title(rng, 8) if rng.random() < 0.2 else None,
    }
