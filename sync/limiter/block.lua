-- Blocks a scope (KEYS[2]) for ARGV[3] microseconds because of ARGV[4]; never shortens a block.

local key = KEYS[2]
local ends = now + tonumber(ARGV[3])
local before = tonumber(string.match(redis.call('GET', key) or '', '^%d+')) or 0
if ends > now and ends > before then
  redis.call('SET', key, string.format('%.0f ', ends) .. ARGV[4], 'PX', math.ceil((ends - now) / 1000))
end
return 1
