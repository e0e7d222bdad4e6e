-- What meet.lua and save.lua begin with.
-- A server that is full takes no writes at all, and the buckets are worth more.
local function is_fuller_than(part)
  local is_known, info = pcall(redis.call, 'INFO', 'memory')
  local used = is_known and tonumber(string.match(info, 'used_memory:(%d+)'))
  local most = is_known and tonumber(string.match(info, 'maxmemory:(%d+)'))
  return used and most and most > 0 and used > part * most
end

