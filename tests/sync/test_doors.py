"""The doors: chosen by the scheme, and opened only for what can be."""

import multiprocessing
import os

import pytest

from connectors import Bearer, Connector, ContractError, NoAuth
from sync import doors
from sync.api.client import HttpApi
from sync.api.wire import wire
from sync.door import Account, Means
from sync.settings import Settings

ACCOUNT = Account(connection_id=1, connection="acme-eu")


def opened(base_url, auth=NoAuth()):  # noqa: B008 - frozen, without fields
    connector = Connector(base_url=base_url, streams=(), auth=auth)
    return doors.open_door("acme", connector, ACCOUNT, Means(settings=Settings()))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_http_has_its_door(scheme):
    assert isinstance(opened(f"{scheme}://api.example.com"), HttpApi)


@pytest.mark.parametrize("base_url", ["ftp://x", "gopher:x", "api.example.com", "javascript:alert(1)"])
def test_a_scheme_without_a_door_is_named(base_url):
    with pytest.raises(ContractError, match="http, https, file"):
        opened(base_url)


def test_an_account_without_a_credential_opens_no_door_that_asks_for_one():
    with pytest.raises(ContractError, match="acme-eu"):
        opened("https://api.example.com", Bearer("key"))


def test_doors_onto_the_same_host_share_their_connections():
    assert opened("https://api.example.com/a")._wire is opened("https://api.example.com/b")._wire
    assert opened("https://api.example.com")._wire is not opened("http://api.example.com")._wire


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_worker_shares_no_connection_with_its_parent():
    opened("https://api.example.com")
    assert wire.cache_info().currsize
    doors.limits()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put((wire.cache_info().currsize, doors.limits.cache_info().currsize)))
    child.start()
    child.join(30)
    assert queue.get() == (0, 0)
    assert child.pid != os.getpid()
