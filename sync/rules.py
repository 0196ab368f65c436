"""Schedule rules: "every 15 minutes", or a cron expression read in a time zone."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from connectors import ContractError, TidelockError, seconds


class RuleError(TidelockError):
    """A schedule that can't be read; the text names it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When something is due again.

    text    "every 15 minutes" or a cron expression ("30 2 * * *")
    zone    the time zone in which cron hours are read; a daily time fires once, also on the day the clocks change
    jitter  seconds by which every due time is shifted, at random between 0 and this
    """

    text: str
    zone: str = "UTC"
    jitter: float = 0.0

    def __post_init__(self) -> None:
        self.after(datetime.now(UTC))

    @property
    def interval(self) -> float | None:
        """The seconds of "every ..."; None for cron."""
        word, _, rest = self.text.strip().partition(" ")
        return seconds(rest) if word.lower() == "every" else None

    def after(self, moment: datetime, due: datetime | None = None) -> datetime:
        """The next due time after `moment`; missed ones are caught up by one run, not by many.

        `due` is the due time that was just served: intervals keep its beat, so that they don't drift.
        """
        return self._next(moment, due) + timedelta(seconds=random.uniform(0, self.jitter))  # noqa: S311 - no secret

    def _next(self, moment: datetime, due: datetime | None) -> datetime:
        try:
            step = self.interval
            if step is None:
                return next(CronSim(self.text, moment.astimezone(ZoneInfo(self.zone)))).astimezone(UTC)
        except ZoneInfoNotFoundError as error:
            raise RuleError(f"schedule {self.text!r}: there is no time zone {self.zone!r}") from error
        except (CronSimError, ContractError, StopIteration) as error:
            raise RuleError(
                f"schedule {self.text!r} is neither an interval ('every 15 minutes') nor cron ('30 2 * * *')"
            ) from error
        if step < 1:
            raise RuleError(f"schedule {self.text!r}: the shortest interval is 1 second")
        start = due or moment
        missed = max(0.0, (moment - start).total_seconds()) // step
        return start + timedelta(seconds=step * (missed + 1))
