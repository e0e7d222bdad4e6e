-- Notes that a replica lives, and counts those that lived of late.
-- KEYS[1] is a sorted set of the replicas, by the server's time in seconds at
-- which they were seen. ARGV: the replica's name, and how long one counts.
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - tonumber(ARGV[2])))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
