"""The connector of the webhook bench: GitHub's scheme, one stream that is pulled and delivered.

A `fat` event carries the record with its version; a `thin` one only says which record to fetch again.
"""

from collections.abc import Iterator, Mapping

from benchmarks.connector import COLUMNS, PAGES, UPDATED
from connectors import (
    Connector,
    Effect,
    Event,
    Hmac,
    InHeader,
    Option,
    Prefix,
    Refetch,
    Stream,
    Timestamp,
    Upsert,
    Webhook,
    get_one,
)

NAME = "hooked"
STREAM = "records"
SECRET = "webhook_secret"


def effects(event: Event) -> Iterator[Effect]:
    """What an event means."""
    row: Mapping[str, str] = event["record"]
    if event.name == "thin":
        yield Refetch(STREAM, row["id"])
    else:
        yield Upsert(STREAM, row, UPDATED.instant(row["updated_at"]))


connector = Connector(
    base_url="{url}",
    owner="the bench",
    options={"url": Option("where the bench's vendor listens", required=True)},
    streams=(
        Stream(
            STREAM, "/records", PAGES, version=UPDATED, cursor=Timestamp(field=UPDATED), columns=COLUMNS, get=get_one()
        ),
    ),
    webhook=Webhook(
        verify=Hmac(signature=InHeader("X-Hub-Signature-256"), form=Prefix("sha256="), secret=SECRET),
        effects=effects,
        name=InHeader("X-GitHub-Event"),
        events=("fat", "thin"),
        delivery=InHeader("X-GitHub-Delivery"),
    ),
)
