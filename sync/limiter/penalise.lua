-- Halves every limit and empties it. Calls that were in flight when the first was refused are refused too:
-- for a few seconds they count as one.

local ONCE = 5e6

local function halve(one)
  one.factor = math.max(FLOOR, one.factor / 2)
  redis.call('HSET', one.key, 'factor', one.factor, 'since', now)
end

for i, one in ipairs(limits()) do
  if now - one.since >= ONCE then
    halve(one)
    one = limit(i)
    if one.kind ~= 'lease' then
      one.tat = math.max(one.tat, now + one.burst * one.step)
      redis.call('HSET', one.key, 'tat', one.tat)
    end
    keep(one)
  end
end
return 1
