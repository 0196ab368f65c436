-- What every script here begins with. Times are microseconds since the epoch, as doubles: exact below 2^53.
--
-- KEYS[1]            when this Redis first saw a limit of ours
-- KEYS[2 .. n + 1]   one hash for each limit; its leases are the sorted set of the same name with ":held"
-- ARGV[1]            the time, in tests only; else ''
-- ARGV[2]            n, the number of limits; then for each limit six values:
--                    kind, units, size, speed, calendar, heard
local VALUES = 6

local FLOOR = 1 / 32           -- the least that AIMD leaves of a rate
local RECOVERY = 0.05 / 60e6   -- what it gives back, a microsecond
local BURST = 0.2              -- of a window's quota, while it is paced
local IDLE = 3600e3            -- milliseconds that a hash outlives its use: longer than any recovery

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1e6 + time[2]
end

local now = clock()
local count = tonumber(ARGV[2])

local function recovered(factor, since)
  if not factor then return 1 end
  return math.min(1, factor + (now - since) * RECOVERY)
end

-- Where the window of now begins and ends, of midnights written "m1,m2,m3".
local function day(calendar)
  local begins
  for midnight in string.gmatch(calendar, '%d+') do
    local at = tonumber(midnight)
    if at > now then return begins, at end
    begins = at
  end
  return begins, now
end

local SHAPE = {}

-- speed: tokens a second; size: burst. A vendor's own numbers stand before the declared ones.
function SHAPE.bucket(one, told)
  local part = one.factor * (told[1] or 1)
  one.step = 1e6 / ((told[2] or one.speed) * part)
  one.burst = math.max(1, (told[3] or one.size) * part)
end

-- speed: the window's length; size: its quota. step and burst are its pace while cold or slowed,
-- see take.lua; heard: the vendor's answers tell how much is left.
function SHAPE.window(one, told)
  one.size = math.max(1, math.floor(one.size * (told[1] or 1) + 1e-9))
  one.step = one.speed / (one.size * one.factor)
  one.burst = math.max(1, one.size * one.factor * BURST)
  local ends
  if one.calendar ~= '' then one.begins, ends = day(one.calendar) end
  if one.ends <= now then one.used, one.ends = 0, ends or now + one.speed end
end

-- speed: the lease's length; size: how many at once.
function SHAPE.lease(one, told)
  one.size = math.max(1, math.floor(one.size * one.factor * (told[1] or 1) + 1e-9))
  one.step, one.burst = 0, 1
end

local function limit(i)
  local at = 2 + (i - 1) * VALUES
  local one = {
    key = KEYS[i + 1], kind = ARGV[at + 1], units = tonumber(ARGV[at + 2]), size = tonumber(ARGV[at + 3]),
    speed = tonumber(ARGV[at + 4]), calendar = ARGV[at + 5], heard = ARGV[at + 6] ~= '',
  }
  local row = redis.call('HMGET', one.key, 'tat', 'used', 'ends', 'factor', 'since', 'told', 'rate', 'burst')
  local function field(n) return tonumber(row[n]) end
  one.tat, one.used, one.ends = field(1) or -math.huge, field(2) or 0, field(3) or 0
  one.since = field(5) or -math.huge
  one.factor = recovered(field(4), one.since)
  SHAPE[one.kind](one, {field(6), field(7), field(8)})
  return one
end

local function limits()
  local all = {}
  for i = 1, count do all[i] = limit(i) end
  return all
end

-- Until its bucket is full and its window over, a hash may not be forgotten.
local function keep(one)
  local rest = math.max(0, one.tat - now) + (one.burst + one.units) * one.step
  if one.kind == 'window' then rest = math.max(rest, one.ends - now) end
  redis.call('PEXPIRE', one.key, string.format('%.0f', rest / 1000 + IDLE))
end
