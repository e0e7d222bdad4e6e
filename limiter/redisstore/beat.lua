-- Notes that a replica lives, and finds out which others do and whether the store has
-- lost writes.
-- KEYS[1] is a hash of the replicas: the server's time in seconds at which each was seen,
-- and the number of its last beat. KEYS[2] is the replicas' key, which the first of them
-- has chosen. KEYS[3] is a hash of what is known of the store itself. KEYS[4] is a sorted
-- set of the replicas of a day by when they were seen, in milliseconds; see absent.lua.
-- ARGV: the replica's name, the key that it would choose, the number of its last beat that
-- was answered, the replicas that it knew of then, and times.
-- Returns the number of replicas, and of those that beat; the key; how long the store has
-- existed; and how long ago it lost writes, or -1.
local name, key, number, known = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local seen_for, absent_after, settle, kept = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local function exact(number)
  return string.format('%.17g', number)
end

local replicas, present, newest, remembered = 1, 1, 0, 0
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  local seen, last = string.match(flat[i + 1], '(%S+) (%S+)')
  seen = math.min(tonumber(seen), now) -- the clock may have been set back
  newest = math.max(newest, seen)
  if flat[i] == name then
    remembered = tonumber(last)
  elseif now - seen >= kept then
    redis.call('HDEL', KEYS[1], flat[i])
  elseif now - seen < seen_for then
    replicas = replicas + 1
    if now - seen < absent_after then
      present = present + 1
    end
  end
end

local state = {} -- times are not after now, see above
for i, value in ipairs(redis.call('HMGET', KEYS[3], 'born', 'lost_at', 'resumed', 'expected')) do
  state[i] = tonumber(value or nil)
  if state[i] then
    state[i] = math.min(state[i], now)
  end
end
local born, lost_at, resumed, expected = state[1] or now, state[2], state[3] or 0, state[4] or 0

-- A beat that was answered and that the store does not remember was lost, and other
-- writes with it.
if remembered < number then
  lost_at = now
end

-- Where nobody has been seen for a while, the store was away or has forgotten. Then the
-- others, whom this replica remembers, may be alone until they come.
if now - newest > absent_after then
  resumed, expected = now, 0
end
if now - resumed < settle then
  expected = math.max(expected, known)
  replicas = math.max(replicas, expected)
end

redis.call('HSET', KEYS[1], name, exact(now) .. ' ' .. number + 1)
if remembered < number then -- a replica that was here before has the right key
  redis.call('SET', KEYS[2], key)
else
  redis.call('SET', KEYS[2], key, 'NX')
end
redis.call('HSET', KEYS[3], 'born', exact(born), 'lost_at', lost_at and exact(lost_at) or '', 'resumed', exact(resumed), 'expected', expected)
redis.call('EXPIRE', KEYS[1], kept)
redis.call('EXPIRE', KEYS[3], kept)

local day = 86400
redis.call('ZADD', KEYS[4], string.format('%.0f', now * 1000), name)
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('(%.0f', (now - day) * 1000))
redis.call('EXPIRE', KEYS[4], day)

return {
  replicas, present, redis.call('GET', KEYS[2]),
  exact(math.max(0, now - born)), exact(lost_at and math.max(0, now - lost_at) or -1),
}
