"""Every bundled connector keeps the contract of connectors; its recordings lie in a folder beside this file."""

from sync.kit.contract import *  # noqa: F403
from sync.registry import bundled

CONNECTORS = bundled()
