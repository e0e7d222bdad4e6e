-- Takes a replica that ends out of those that count, and says that it is dead: nobody has
-- to wait until that shows. It was seen just long enough ago. If that were longer, writes
-- that may have run would be forgotten too early, see meet.lua.
-- KEYS: the replicas, and when they were seen; see beat.lua. ARGV: the replica, and after
-- how many milliseconds one counts as dead.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], 'XX', string.format('%.0f', now - tonumber(ARGV[2]) - 1), ARGV[1])
return 1
