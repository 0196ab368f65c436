"""A database with credentials, and doors onto servers of the test."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from connectors import Bearer, Connector
from models import Base
from sync.api.client import HttpApi
from sync.door import Account, Means
from sync.doors import open_door
from sync.settings import Settings
from sync.store import credentials
from sync.store.database import connect, write
from sync.vault import Vault
from tests.sync.api.talker import Say, Talker

CANARY = "canary-secret-9f3b7c"
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = connect(f"sqlite:///{tmp_path / 'doors.db'}")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def means(engine: Engine) -> Means:
    settings = Settings(allow_private=LOOPBACK, request_seconds=5, max_body=1_000_000)
    return Means(settings=settings, engine=engine, vault=Vault(b"v" * 32))


@pytest.fixture
def talks() -> Iterator[Callable[..., Talker]]:
    """Starts a server that says what a function says."""
    with ExitStack() as stack:

        def started(say: Say, context: ssl.SSLContext | None = None) -> Talker:
            return stack.enter_context(Talker(say, context))

        yield started


@pytest.fixture
def keep(means: Means) -> Callable[..., int]:
    """Stores secrets; the credential's id."""

    def kept(**secrets: Any) -> int:
        with write(means.engine) as connection:
            return credentials.create(connection, "acme", secrets, keys=means.vault)

    return kept


@pytest.fixture
def opens(means: Means, keep: Callable[..., int]) -> Callable[..., HttpApi]:
    """Opens a door onto a URL; what is given replaces what the connector, the account or the settings say."""

    def opened(url: str, *, secrets: dict[str, Any] | None = None, **given: Any) -> HttpApi:
        settings = {name: given.pop(name) for name in ("request_seconds", "max_body", "allow_private") if name in given}
        account = {
            name: given.pop(name) for name in ("credential_id", "limit", "stream", "lane", "config") if name in given
        }
        auth = given.pop("auth", Bearer("key"))
        if auth.secrets and "credential_id" not in account:
            account["credential_id"] = keep(**(secrets or dict.fromkeys(auth.secrets, CANARY)))
        used = given.pop("means", means)
        used = replace(used, settings=replace(used.settings, **settings))
        connector = Connector(base_url=url, streams=(), auth=auth, **given)
        door = open_door("acme", connector, Account(connection_id=1, connection="acme-eu", **account), used)
        assert isinstance(door, HttpApi)
        return door

    return opened
