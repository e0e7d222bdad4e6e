-- Notes that a replica lives, and counts those that lived of late. Returns their
-- number, and the key that all replicas have.
-- KEYS[1] is a sorted set of the replicas, by the server's time in seconds at which
-- they were seen; KEYS[2] is the replicas' key, which the first of them has chosen.
-- ARGV: the replica's name, how long one counts, and the key that it would choose.
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - tonumber(ARGV[2])))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'NX')
return { redis.call('ZCARD', KEYS[1]), redis.call('GET', KEYS[2]) }
