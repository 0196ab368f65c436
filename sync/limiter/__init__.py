"""Shared limits: how all workers together stay within what a vendor allows.

`Limiter.acquire` asks all limits of a call in one Lua call by Redis's own clock and takes from all or from
none; it answers `Grant`, or `Wait` with seconds and a sentence. It never sleeps.

**Buckets** (TokenBucket, MinInterval, Cost) are GCRA: one number is kept, the time `tat` at which the
bucket will be full. With a token every `step` seconds, n tokens may be taken at `now` if

    tat + (n - burst + kept) * step <= now          and then  tat = max(tat, now) + n * step

so any t seconds grant at most burst + t / step. A call that costs more than the burst waits until the
bucket has been full for the difference: it is late, but never refused for ever.

**Lanes.** `kept` is what a lane leaves to those before it: for a reserve r (RESERVES: schedule 5 %,
backfill 20 %) it is ceil(r * burst) tokens plus the fraction r of one. The whole tokens are what an
interactive call finds at once; below them, all that is refilled goes to the lanes before, in their order. A
bucket of one token has none to set aside: there only the fraction remains, and the lane asks r * step later
than an interactive call may. In a window a lane stops at limit - ceil(r * limit), of calls in flight at
maximum - ceil(r * maximum); at 1 at least, so that no lane is shut out for good (of 1 in flight, nothing is
kept).

**Windows** (FixedWindow) are counters that end with the window. Concurrency is a sorted set of leases: a
grant that is never released expires.

**Lost memory.** An emptied Redis costs a bucket one burst. It can't know what a window has spent: until a
whole window after Redis began to count, at most a fifth is granted, or, where the vendor's headers will
correct it, a fifth at once and the rest evenly. A new installation begins like this too. Calls in flight
are forgotten: at most `maximum` more are granted while they end.

**Feedback.** `observe` brings a limit down to what the vendor's answer says. `penalise` (AIMD) is for a
refusal that states nothing: the rate is halved (to 1/32 at least, once in 5 seconds), the bucket emptied,
and 5 % of the declared rate come back each minute; a window is granted evenly as long. `block` stops a
scope until a time.

**Speed**, two cores shared with other work, Redis on loopback: an acquire of one bucket took 50 to 62 us of CPU
in Python and 17 us in Redis, 6,400 to 13,000/s one after the other; of a bucket, a window and a lease, with its
release, 101 to 124 us and 39 us, 3,700 to 6,400/s. `Blocks` answers from its store in about 2 us; it went to
Redis 19 times for 10,000 calls at 100,000/second. By their size, limits below 200/second get blocks of one.
"""

from sync.limiter.blocks import Blocks
from sync.limiter.connection import LimiterUnavailable, connect
from sync.limiter.grant import Grant, Wait
from sync.limiter.lanes import RESERVES
from sync.limiter.limiter import Limiter

__all__ = ["RESERVES", "Blocks", "Grant", "Limiter", "LimiterUnavailable", "Wait", "connect"]
