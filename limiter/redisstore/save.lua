-- Brings a write up to date; see meet.lua. An older version changes nothing.
--
-- KEYS as there. ARGV: the id, the replica, version, text, how long it is kept, how many
-- of KEYS identical writes find it by, and the beginning of the keys of writes; then the
-- answer, whether it was sent, for how long it is open, whether its caller is there, how
-- long it stays open after the death of the replica, and whether it is over.
-- Returns 'saved'; 'bare' if there was no room for the answer, 'full' if there was none for
-- the write; or 'taken' if another replica has taken it over.

local record, id, me, version, text = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local keep, calls, prefix = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local answer, sent, open, busy, orphan, is_over = ARGV[8], ARGV[9], tonumber(ARGV[10]), ARGV[11], ARGV[12], ARGV[13] == '1'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local known = redis.call('HMGET', record, 'version', 'taken', 'received')
if known[2] then
  return 'taken'
elseif known[1] and tonumber(known[1]) >= version then
  return 'saved'
elseif not known[1] and is_fuller_than(0.75) then
  return 'full'
end

redis.call('HSET', record, 'owner', me, 'version', ARGV[3], 'text', text, 'sent', sent, 'orphan', orphan, 'calls', table.concat(KEYS, '\n', 2, calls + 1), 'keys', table.concat(KEYS, '\n', calls + 2))
local is_bare = answer ~= '' and is_fuller_than(0.5)
if answer == '' or is_bare then
  redis.call('HDEL', record, 'answer')
else
  redis.call('HSET', record, 'answer', answer)
end
redis.call('PEXPIRE', record, keep)

if known[3] then -- at another replica
  open, busy = 0, '0'
end
for i = 2, calls + 1 do
  if is_over or open <= 0 and busy == '0' then
    redis.call('HDEL', KEYS[i], id)
  else
    local till = open > 0 and now + open or 0
    redis.call('HSET', KEYS[i], id, string.format('%.0f %s %s %s', till, busy, orphan, me))
    redis.call('PEXPIRE', KEYS[i], math.max(keep, redis.call('PTTL', KEYS[i])))
  end
end
for i = calls + 2, #KEYS do
  local other = redis.call('GET', KEYS[i])
  local is_own = not other or other == id
  if is_over and other == id then
    redis.call('DEL', KEYS[i])
  elseif not is_over and (is_own or redis.call('EXISTS', prefix .. other) == 0) then
    redis.call('SET', KEYS[i], id, 'PX', keep)
  end
end
return is_bare and 'bare' or 'saved'
