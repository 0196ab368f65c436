"""Keyrings: where the secrets of a connection come from while its door is open."""

from collections.abc import Mapping

from connectors import Json
from sync.door import Means
from sync.store import credentials


class NoKeys:
    """The connector asks nobody who they are."""

    def secrets(self) -> Mapping[str, Json]:
        return {}

    def renew(self) -> bool:
        return False


class StoredKeys:
    """Secrets that a person gave: read with the door's opening, and again when the vendor refuses them."""

    def __init__(self, credential_id: int, stored: credentials.Stored, means: Means) -> None:
        self._id = credential_id
        self._stored = stored
        self._means = means

    def secrets(self) -> Mapping[str, Json]:
        return self._stored.secrets

    def renew(self) -> bool:
        """Whether a person has meanwhile given others."""
        refused = self._stored.version
        self._stored = credentials.load(self._id, target=self._means.engine, keys=self._means.vault)
        return self._stored.version != refused
