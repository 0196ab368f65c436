"""A pretended SaaS on a real socket: the demo vendor, and faults for the tests of connectors.

It imports nothing of Tidelock, so that it can be its oracle. See docs/simulator.md.
"""

from sync.kit.vendor.account import Account, KeyTaken, UnknownAccount, UnknownCollection, UnknownRow
from sync.kit.vendor.auth import Auth
from sync.kit.vendor.collection import (
    Collection,
    Paging,
    Since,
    SyncToken,
    Writing,
    cursor,
    export,
    graphql,
    last_id,
    link,
    next_url,
    offset,
    page_number,
    sequence,
)
from sync.kit.vendor.demo import demo_vendor
from sync.kit.vendor.exchange import Answer, Request
from sync.kit.vendor.faults import Fault
from sync.kit.vendor.limits import Limit
from sync.kit.vendor.log import Entry
from sync.kit.vendor.oauth import OAuthApp
from sync.kit.vendor.post import Posting
from sync.kit.vendor.server import VendorServer, serve
from sync.kit.vendor.times import Clock, moment
from sync.kit.vendor.vendor import Latency, Vendor

__all__ = [
    "Account",
    "Answer",
    "Auth",
    "Clock",
    "Collection",
    "Entry",
    "Fault",
    "KeyTaken",
    "Latency",
    "Limit",
    "OAuthApp",
    "Paging",
    "Posting",
    "Request",
    "Since",
    "SyncToken",
    "UnknownAccount",
    "UnknownCollection",
    "UnknownRow",
    "Vendor",
    "VendorServer",
    "Writing",
    "cursor",
    "demo_vendor",
    "export",
    "graphql",
    "last_id",
    "link",
    "moment",
    "next_url",
    "offset",
    "page_number",
    "sequence",
    "serve",
]
