"""The engine's tables: one table a file, constraints, no behaviour."""

from models.attempt import Attempt
from models.base import Base, Identity, Instant
from models.checkpoint import Checkpoint
from models.connection import Connection
from models.credential import Credential
from models.drift import Drift
from models.reject import Reject
from models.run import Run
from models.schedule import Schedule
from models.sighting import Sighting
from models.slice import Slice

__all__ = [
    "Attempt",
    "Base",
    "Checkpoint",
    "Connection",
    "Credential",
    "Drift",
    "Identity",
    "Instant",
    "Reject",
    "Run",
    "Schedule",
    "Sighting",
    "Slice",
]
