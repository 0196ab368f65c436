"""Tables: what a connection's streams need, made before their runs are opened.

Apart from `opening`, so that a worker, which opens no runs, doesn't carry Alembic.
"""

from typing import Any

from sqlalchemy import Row

from sync.lists import selection
from sync.registry import load
from sync.store import schema
from sync.store.database import engine


def prepare(account: Row[Any]) -> None:
    """Make the tables of a connection's streams what is declared. Not in a transaction: it has its own.

    ContractError where what is selected doesn't make sense; SchemaError where a table is in use, for now.
    """
    connector = load(account.connector)
    for stream in selection(connector, account.config, account.streams):
        schema.ensure(engine(), account.connector, stream)
