"""The mirror beside the vendor's truth: payload by key."""

import json
from typing import Any

from sync.kit.vendor import Vendor
from tests.world import World

GONE = {"tasks": ("deleted", True), "orders": ("status", "deleted")}


def truth(vendor: Vendor, collection: str, account: str = "") -> dict[str, Any]:
    """What the vendor has, by key; what it only shows as deleted is not there."""
    holder = vendor.account(account) if account else vendor
    flag, value = GONE.get(collection, ("", None))
    rows = holder.truth(collection).items()
    return {str(key): dict(row) for key, row in rows if not flag or row.get(flag) != value}


def stored(world: World, connector: str, stream: str, account: int | None = None) -> dict[str, Any]:
    """The live records of a table, by key."""
    whose = "" if account is None else f"connection_id = {account} AND "
    rows = world.rows(f"{connector}_{stream}", f"{whose}deleted_at IS NULL")
    return {row["key"]: decoded(row["payload"]) for row in rows}


def decoded(payload: Any) -> Any:
    return payload if isinstance(payload, dict) else json.loads(payload)
