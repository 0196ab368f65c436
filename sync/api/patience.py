"""Patience: the only place where a door sleeps."""

import time

MOST = 1.0  # seconds that one call may sleep; whatever takes longer gives the worker back
STEP = 0.05


class Patience:
    """What is left of one call's time to sleep; `slept` is what it took."""

    def __init__(self, most: float = MOST) -> None:
        self._left = most
        self.slept = 0.0

    def sleep(self, seconds: float) -> bool:
        """Sleeps, if so much is left; else False, at once."""
        if seconds > self._left:
            return False
        self._left -= seconds
        self.slept += seconds
        time.sleep(seconds)  # shorter than giving the slice back and claiming it again (law 6)
        return True
