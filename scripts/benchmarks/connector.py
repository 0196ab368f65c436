"""The bench's connector: the source's records with the eight columns that the floors store too.

`records` is one list; `parts` and `shares` are the same records as partitions by a parent.
"""

from connectors import Connector, Option, Stream, Timestamp, boolean, cursor, integer, iso, number, text

TABLE = "bench_records"
COLUMNS = (
    text("name"), text("email"), text("status"), text("currency"), integer("amount"), number("tax_rate"),
    boolean("paid"), iso("created_at"),
)  # fmt: skip
PAGES = cursor("data", "next_cursor", size=("limit", 100), since="updated_since")
UPDATED = iso("updated_at")

connector = Connector(
    base_url="{url}",
    owner="the bench",
    options={"url": Option("where the bench's source listens", required=True)},
    streams=(
        Stream("records", "/records", PAGES, version=UPDATED, cursor=Timestamp(field=UPDATED), columns=COLUMNS),
        Stream("parts", "/parents", cursor("data", "next_cursor"), version=UPDATED),
        Stream(
            "shares", "/p/{id}/records", PAGES, parent="parts", version=UPDATED, cursor=Timestamp(field=UPDATED),
            columns=COLUMNS,
        ),
    ),
)  # fmt: skip
