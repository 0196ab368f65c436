-- Brings every limit down to what the vendor said of it.
--
-- ARGV[3 + 6 n ..]   for each limit six values, '' where unsaid: remaining, microseconds to its reset,
--                    the part of the declared size that the vendor grants, its refill a second, its burst,
--                    and units to give back because the call took fewer than were charged

local SAID = 6

local function said(i, n) return tonumber(ARGV[2 + VALUES * count + (i - 1) * SAID + n]) end

local LOWER = {}

function LOWER.bucket(one, remaining, reset, refund)
  local tat = math.max(one.tat, now)
  if refund then tat = math.max(now, tat - refund * one.step) end
  if remaining then tat = math.max(tat, now + (one.burst - remaining) * one.step) end
  if remaining and remaining < 1 and reset then tat = math.max(tat, now + reset + (one.burst - 1) * one.step) end
  if tat == now and one.tat < now then return end
  one.tat = tat
  redis.call('HSET', one.key, 'tat', tat)
end

function LOWER.window(one, remaining, reset)
  if not remaining or reset == 0 then return end   -- a reset that is past speaks of a window that is over
  one.used = math.max(one.used, one.size - remaining)
  if reset then one.ends = math.max(one.ends, now + reset) end
  redis.call('HSET', one.key, 'used', one.used, 'ends', one.ends)
end

local function learn(one, i)
  for n, name in ipairs({'told', 'rate', 'burst'}) do
    local value = said(i, 2 + n)
    if value then redis.call('HSET', one.key, name, value) end
  end
end

for i, one in ipairs(limits()) do
  learn(one, i)
  one = limit(i)
  if LOWER[one.kind] then LOWER[one.kind](one, said(i, 1), said(i, 2), said(i, 6)) end
  keep(one)
end
return 1
