"""Removing a connection: a little at a time, and only what is its own."""

from sqlalchemy import insert

from models import Sighting
from sync.store import removal
from sync.store.database import write

URL = {"url": "http://127.0.0.1:9"}


def test_the_history_of_one_connection_goes_in_small_transactions(world, monkeypatch):
    """With more rows than a transaction may delete, all of it goes, and nothing of another connection."""
    monkeypatch.setattr(removal, "BATCH", 2)
    mine, other = world.connect("demo", URL, name="mine"), world.connect("demo", URL, name="other")
    theirs = world.open(other)
    assert len(world.open(mine)) > 2
    unit = world.rows("slices", f"connection_id = {mine}")[0]["id"]
    with write() as connection:
        connection.execute(insert(Sighting).values(slice_id=unit, page=1, hashes=b"12345678"))
    removal.forget(mine)
    assert [row["id"] for row in world.rows("runs")] == theirs
    assert {row["connection_id"] for row in world.rows("slices")} == {other}
    assert world.rows("sightings") == []
