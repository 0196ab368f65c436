"""The doors to the outside, by the scheme of a connector's base URL."""

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

from connectors import Connector, ContractError
from sync.api.client import HttpApi
from sync.api.opening import open_http
from sync.api.origin import filled
from sync.door import Account, Means
from sync.files import FilesApi, open_folder
from sync.limiter import Blocks, Limiter, connect
from sync.settings import settings

Api: TypeAlias = HttpApi | FilesApi


def door(name: str, connector: Connector, account: Account) -> Api:
    """The door to an account of the connector of this name, limited together with everybody else's."""
    limiter, blocks = limits()
    return open_door(name, connector, account, Means(settings=settings(), limiter=limiter, blocks=blocks))


def open_door(name: str, connector: Connector, account: Account, means: Means) -> Api:
    """The door to an account, by these means; it opens without a request.

    Raises ContractError where an option of the connection is missing or unfit, and UnknownCredential or
    VaultError where its secrets can't be had.
    """
    base = filled(connector, account.config)
    scheme = base.partition(":")[0].lower()
    if scheme not in _DOORS:
        raise ContractError(f"{name}: the base URL {base!r} begins with none of {', '.join(_DOORS)}")
    return _DOORS[scheme](name, connector, account, base, means)


_DOORS: Mapping[str, Callable[[str, Connector, Account, str, Means], Api]] = {
    "http": open_http,
    "https": open_http,
    "file": open_folder,
}


@lru_cache(maxsize=1)
def limits() -> tuple[Limiter, Blocks]:
    """This process's share of the common limits."""
    limiter = Limiter(connect(settings().redis_url), "tidelock")
    return limiter, Blocks(limiter)


os.register_at_fork(after_in_child=limits.cache_clear)  # a parent's connection and blocks are not ours

__all__ = ["Account", "Api", "Means", "door", "limits", "open_door"]
