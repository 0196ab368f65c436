"""The engine's tables: one table a file, constraints, no behaviour."""

from models.attempt import Attempt
from models.base import Base, Identity, Instant
from models.checkpoint import Checkpoint
from models.connection import Connection
from models.credential import Credential
from models.delivery import Delivery
from models.drift import Drift
from models.holdup import Holdup
from models.inbox import Inbox
from models.notice import Notice
from models.reject import Reject
from models.run import Run
from models.schedule import Schedule
from models.sighting import Sighting
from models.slice import Slice
from models.subscription import Subscription

__all__ = [
    "Attempt",
    "Base",
    "Checkpoint",
    "Connection",
    "Credential",
    "Delivery",
    "Drift",
    "Holdup",
    "Identity",
    "Inbox",
    "Instant",
    "Notice",
    "Reject",
    "Run",
    "Schedule",
    "Sighting",
    "Slice",
    "Subscription",
]
