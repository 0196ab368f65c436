"""The demo vendor, an HTTP server that comes with Tidelock: customers, projects with their tasks, orders.

Each of its lists speaks another dialect of real APIs, so this is also the connector to learn from:
`docs/connectors.md` builds it step by step.
"""

from connectors import (
    Bearer,
    Concurrency,
    Connector,
    Flag,
    Option,
    Sequence,
    Stream,
    Sweep,
    Timestamp,
    Tombstones,
    WithParent,
    boolean,
    cursor,
    get_one,
    integer,
    iso,
    json,
    keyset,
    link_header,
    sequence,
    text,
)

connector = Connector(
    base_url="{url}",
    auth=Bearer("secret_key"),
    owner="demo",
    options={"url": Option("where the demo vendor listens, such as http://127.0.0.1:8099", required=True)},
    limits={"default": ("100/second", Concurrency(8))},
    streams=(
        Stream(
            "customers",
            "/v1/customers",
            cursor("data", "next_cursor", size=("limit", 500), since="updated_since"),
            version=iso("updated_at"),
            cursor=Timestamp(field=iso("updated_at")),
            get=get_one(),
            deletes=(
                Tombstones(
                    path="/v1/customers/deleted",
                    pull=cursor("data", "next_cursor", size=("limit", 500), since="since"),
                    at=iso("deleted_at"),
                ),
            ),
            columns=(text("name"), text("email"), text("country"), integer("balance_cents"), boolean("vip"),
                     text("address.city"), json("tags"), iso("created_at"), iso("updated_at")),
        ),
        Stream(
            "projects",
            "/v1/projects",
            link_header(size=("per_page", 500)),
            version=iso("activity_at"),
            get=get_one(),
            etag=True,
            deletes=(Sweep(every=None, confirm="get"),),
            columns=(text("name"), text("status"), text("owner"), iso("activity_at"), iso("updated_at")),
        ),
        Stream(
            "tasks",
            "/v1/projects/{id}/tasks",
            keyset("updated_at", since="since", size=("per_page", 500)),
            parent="projects",
            when="activity_at",
            version=iso("updated_at"),
            cursor=Timestamp(field=iso("updated_at")),
            get=get_one("/v1/tasks/{key}"),
            deletes=(Flag("deleted"), WithParent()),
            columns=(integer("project_id"), text("title"), boolean("done"), text("assignee"),
                     iso("updated_at")),
        ),
        Stream(
            "orders",
            "/v1/orders",
            sequence("orders", param="after_seq", more="more", last="last_seq", size=("limit", 500)),
            version=integer("seq"),
            cursor=Sequence(field=integer("seq")),
            get=get_one(),
            deletes=(Flag("status", "deleted"),),
            columns=(text("customer_id"), text("status"), text("currency"), integer("amount_cents")),
        ),
    ),
)  # fmt: skip
