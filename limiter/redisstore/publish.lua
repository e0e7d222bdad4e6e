-- Publishes news to the other replicas, and keeps them as long as they hold.
-- KEYS[1] is a hash of what is kept: of each subject when it was published, in seconds of
-- the server's time, and the text. KEYS[2] is a sorted set of the subjects by the time
-- until which their news hold.
-- ARGV: the channel, the sender, the subject, the text, for how many seconds it holds, and
-- how many news are kept at most.
local channel, sender, subject, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local holds, most = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local function forget(subjects)
  for _, old in ipairs(subjects) do
    redis.call('HDEL', KEYS[1], old)
    redis.call('ZREM', KEYS[2], old)
  end
end

redis.call('HSET', KEYS[1], subject, string.format('%.3f %s', now, text))
redis.call('ZADD', KEYS[2], string.format('%.3f', now + holds), subject)
forget(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.3f', now), 'LIMIT', 0, 100))
forget(redis.call('ZRANGE', KEYS[2], most, -1)) -- those that hold longest are the least urgent
for _, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, math.max(redis.call('TTL', key), math.ceil(holds)))
end
return redis.call('PUBLISH', channel, sender .. ' ' .. text)
