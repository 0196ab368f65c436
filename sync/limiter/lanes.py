"""Lanes: whose call it is, and what it must leave for those before it."""

from collections.abc import Mapping

from connectors import ContractError

# The part of every limit that a lane may not touch.
RESERVES: Mapping[str, float] = {"interactive": 0.0, "webhook": 0.0, "schedule": 0.05, "backfill": 0.20}


def reserve(lane: str, reserves: Mapping[str, float]) -> float:
    """The lane's reserve; ContractError names a lane that is none."""
    if lane not in reserves:
        raise ContractError(f"{lane!r} is not a lane; use one of {', '.join(reserves)}")
    return reserves[lane]
