-- Adds a write, unless it repeats one of another replica. See package proxy/replay.
--
-- A write is a hash. An identical write finds it by other hashes, each of which has, by
-- the ids of writes, until when they are open, whether their callers are there, how long
-- they stay open after the death of their replica, and the replica. A write with the same
-- key finds it by a string, its id. All times are in milliseconds of the server's clock.
--
-- KEYS: the write, what identical ones find it by, and what its own keys are.
-- ARGV: its id, its replica, version, text, how long it is kept, how many of KEYS
-- identical writes find it by, and the beginning of the keys of writes; then pairs of a
-- replica and for how long it has not been seen, '' for one that is alive.
--
-- Returns 'added'; or 'full' if there was no room to add it; or 'wait' and the replicas of
-- which it must be known whether they are alive; or 'first', its id, 1 if its replica died,
-- and what is known of it.

local record, id, me, version, text = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local keep, calls, prefix = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local alive, dead = {}, {}
for i = 8, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    alive[ARGV[i]] = true
  else
    dead[ARGV[i]] = tonumber(ARGV[i + 1])
  end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

if redis.call('EXISTS', record) == 1 then -- the answer to the last request was lost
  return { 'added' }
end

-- take makes a write that its replica has not sent one that it must not send any more.
local function take(other)
  redis.call('DEL', prefix .. other)
  redis.call('HSET', prefix .. other, 'taken', 1)
  redis.call('PEXPIRE', prefix .. other, 600000)
end

local function first(other, is_lost)
  local known = redis.call('HMGET', prefix .. other, 'owner', 'text', 'answer', 'sent', 'orphan')
  return { 'first', other, is_lost and 1 or 0, known[1], known[2], known[3] or '', known[4], known[5] }
end

for i = calls + 2, #KEYS do
  local other = redis.call('GET', KEYS[i])
  local known = other and redis.call('HMGET', prefix .. other, 'owner', 'orphan')
  if known and known[1] and known[1] ~= me then
    local orphan, is_dead = tonumber(known[2]), dead[known[1]]
    if not (is_dead and orphan == 0) then
      return first(other, is_dead and orphan > 0)
    end
    take(other)
  end
end

local waits = {}
if #KEYS == calls + 1 then
  for i = 2, #KEYS do
    local found = redis.call('HGETALL', KEYS[i])
    for j = 1, #found, 2 do
      local other = found[j]
      local open, busy, orphan, owner = string.match(found[j + 1], '^(%d+) (%d) (-?%d+) (.*)$')
      local is_open, is_busy, is_lost = tonumber(open) > now, busy == '1', false
      orphan = tonumber(orphan)
      local absent = dead[owner]
      if owner ~= me and absent and orphan >= 0 then
        is_open, is_busy, is_lost = absent < orphan, false, true
        if orphan == 0 then
          take(other)
        end
      end
      if owner == me then -- it knows more about its own writes
      elseif is_open and redis.call('HEXISTS', prefix .. other, 'text') == 1 then
        return first(other, is_lost)
      elseif is_busy then
        waits[owner] = not alive[owner] or nil
      else
        redis.call('HDEL', KEYS[i], other)
      end
    end
  end
end
if next(waits) then
  local answer = { 'wait' }
  for owner in pairs(waits) do
    answer[#answer + 1] = owner
  end
  return answer
end

if is_fuller_than(0.75) then -- its own replica alone knows of it
  return { 'full' }
end
redis.call('HSET', record, 'owner', me, 'version', version, 'text', text, 'sent', 0, 'orphan', 0)
redis.call('PEXPIRE', record, keep)
for i = 2, #KEYS do
  if i <= calls + 1 then
    redis.call('HSET', KEYS[i], id, '0 1 0 ' .. me)
    redis.call('PEXPIRE', KEYS[i], math.max(keep, redis.call('PTTL', KEYS[i])))
  else
    redis.call('SET', KEYS[i], id, 'PX', keep)
  end
end
return { 'added' }
