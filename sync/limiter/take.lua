-- Takes from every limit, or from none.
--
-- ARGV[3 + 6 n]      the lane's reserve, 0 to 1
-- ARGV[4 + 6 n]      the name of the leases
-- KEYS[n + 2 ..]     scopes that a vendor may have blocked
-- Answers {1, now} or {0, now, microseconds to wait, which limit, why} or {-1, now, microseconds to wait, reason}.

local SPENT, KEPT, COLD, SLOWED = 1, 2, 3, 4
local LOOK_AGAIN = 1e6   -- a lease usually ends long before it expires
local reserve = tonumber(ARGV[3 + VALUES * count])
local name = ARGV[4 + VALUES * count]

local function blocked()
  if #KEYS < count + 2 then return end
  local longest, reason = now, nil
  for _, block in ipairs(redis.call('MGET', unpack(KEYS, count + 2))) do
    local ends, why = string.match(block or '', '^(%d+) (.*)$')
    if ends and tonumber(ends) > longest then longest, reason = tonumber(ends), why end
  end
  return reason and {-1, now, math.ceil(longest - now), reason}
end

local born = tonumber(redis.call('GET', KEYS[1]))
if not born then
  born = now
  redis.call('SET', KEYS[1], string.format('%.0f', now))
end

-- The vendor's window may have begun, and been spent, before this Redis began to count.
local function cold(one)
  return now < born + one.speed and not (one.begins and one.begins >= born)
end

-- A part of a whole number of calls or leases, at least one.
local function whole(size) return math.ceil(size * reserve - 1e-9) end

local function bucket(one)
  local kept = 0
  if reserve > 0 then kept = reserve + (one.burst >= 2 and whole(one.burst) or 0) end
  local wait = one.tat + (one.units - one.burst) * one.step - now
  if wait > 0 then return wait + kept * one.step, one.factor < 1 and SLOWED or SPENT end
  return wait + kept * one.step, KEPT
end

local ASK = {bucket = bucket}

function ASK.window(one)
  local after = one.used + one.units
  if one.used > 0 and after > math.max(1, one.size - whole(one.size)) then
    return one.ends - now, after > one.size and SPENT or KEPT
  end
  if one.factor < 1 then return bucket(one), SLOWED end
  if not cold(one) then return 0 end
  if one.heard then return bucket(one), COLD end
  if one.used == 0 or after <= one.size * BURST then return 0 end
  return math.min(one.ends, born + one.speed) - now, COLD
end

function ASK.lease(one)
  local held = one.key .. ':held'
  redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
  local taken = redis.call('ZCARD', held)
  if taken < math.max(1, one.size - whole(one.size)) then return 0 end
  local first = redis.call('ZRANGE', held, 0, 0, 'WITHSCORES')[2]
  return math.min(tonumber(first) - now, LOOK_AGAIN), taken < one.size and KEPT or SPENT
end

local TAKE = {}

function TAKE.bucket(one)
  one.tat = math.max(one.tat, now) + one.units * one.step
  redis.call('HSET', one.key, 'tat', one.tat)
  keep(one)
end

function TAKE.window(one)
  one.tat = math.max(one.tat, now) + one.units * one.step
  redis.call('HSET', one.key, 'tat', one.tat, 'used', one.used + one.units, 'ends', one.ends)
  keep(one)
end

function TAKE.lease(one)
  local held = one.key .. ':held'
  redis.call('ZADD', held, now + one.speed, name)
  redis.call('PEXPIRE', held, math.ceil(one.speed / 1000))
end

local answer = blocked()
if answer then return answer end
local all, longest, which, why = limits(), 0, 0, 0
for i, one in ipairs(all) do
  local wait, reason = ASK[one.kind](one)
  if wait > longest then longest, which, why = wait, i, reason end
end
if longest >= 1 then return {0, now, math.ceil(longest), which, why} end
for _, one in ipairs(all) do TAKE[one.kind](one) end
return {1, now}
