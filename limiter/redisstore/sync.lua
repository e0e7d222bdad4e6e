-- The shared bucket of one portal: limiter.Memory in Lua, with the server's clock.
-- Names and order are those of limiter/memory.go, which has the reasons.
--
-- KEYS[1] is a hash. Its fields are those of the bucket, and one for each replica.
-- Times are in seconds. A number that is not whole is returned as a string, since
-- Redis would cut it.

local key, name = KEYS[1], ARGV[1]
local arg = {}
for i, field in ipairs({
  'rate', 'burst', 'span', 'margin', 'worst_margin',
  'want', 'clients', 'in_flight', 'unsent', 'accepted', 'refused', 'since',
  'rejoins', 'alone', 'version', 'level', 'share', 'refusal',
  'block', 'number', 'answered', 'elapsed', 'part', 'lost', 'confirmed',
  'lease', 'usable', 'grace', 'seen', 'rounding', 'max_sleep', 'kept', 'probe', 'now',
}) do
  arg[field] = tonumber(ARGV[i + 1])
end

local now = arg.now
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end

-- What is kept.
local state, replicas = {}, {}
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
  local replica = string.match(flat[i], '^replica:(.*)$')
  if replica then
    local v = {}
    for word in string.gmatch(flat[i + 1], '%S+') do
      v[#v + 1] = tonumber(word)
    end
    replicas[replica] = {
      name = replica, in_flight = v[1], arrived_by = v[2], seen = v[3],
      calls = v[4], clients = v[5], tag = v[6], waits = v[7], number = v[8], granted = v[9],
    }
  else
    state[flat[i]] = tonumber(flat[i + 1])
  end
end
local last = state.at or 0
if last == 0 and arg.confirmed == 0 then
  return {} -- the store may just have lost the bucket
end

-- The bucket has a clock of its own: the server's, less what that has jumped ahead.
local ahead, me = state.ahead or 0, replicas[name]
now = now - ahead
if me and arg.elapsed > 0 then
  local jump = math.min(now - me.seen - arg.elapsed, now - last)
  if jump > arg.usable then
    ahead, now = ahead + jump, now - jump
  end
end

-- It may also be set back: then no time has passed, and nothing lasts longer than if
-- it began now.
for _, r in pairs(replicas) do
  r.arrived_by, r.seen = math.min(r.arrived_by, now + arg.lease), math.min(r.seen, now)
  r.waits = math.min(r.waits, now + arg.max_sleep + arg.grace)
end
local at = now
if last > 0 then
  at = math.min(last, now)
end
local part = state.part or 1
local level, limit = state.level or 0, math.min(state.limit or arg.rate, arg.rate)
local margin = math.max(state.margin or 0, arg.margin)
local share, refusal = math.min(state.share or arg.rate, arg.rate), math.min(state.refusal or 0, now)
local accepts, version, clock = state.accepts or 0, state.version or 0, state.clock or 0
local probe_at = math.min(state.probe_at or 0, now + arg.probe) -- 0: the upstream is not blocked

local function size()
  return math.max(1, math.floor((arg.burst - margin) * part + arg.rounding))
end

local function in_flight()
  local n = 0
  for _, r in pairs(replicas) do
    n = n + r.in_flight
  end
  return n
end

local function rate()
  local passed = (now - refusal) / arg.span
  if passed >= 1 or share >= arg.rate then
    return arg.rate
  elseif passed < 0.5 then
    return share * 3 / 4
  end
  return share + (arg.rate - share) * ((passed - 0.5) / 0.5) ^ 3
end

-- The level drains, but not below the calls in flight.
local function drain(to)
  level = math.max(level - limit * part * (to - at), in_flight())
  at = to
end

-- Who leaves takes its part of the level along, and brings as much back.
local function set_part(new)
  local before = size()
  part = new
  level = math.max(level + size() - before, in_flight())
end

-- The time since the last report counts by the smaller part.
if arg.part < part then
  set_part(arg.part)
end

-- Calls whose leases are over have arrived, the oldest first.
while true do
  local first
  for _, r in pairs(replicas) do
    if r.in_flight > 0 and r.arrived_by <= now and (not first or r.arrived_by < first.arrived_by) then
      first = r
    end
  end
  if not first then
    break
  end
  drain(math.max(at, first.arrived_by))
  first.in_flight = 0
end
drain(now)
if arg.part > part then
  set_part(arg.part)
end
limit = rate()
if arg.lost > 0 and last < now - arg.lost then
  level = math.max(level, size() - limit * part * arg.lost)
end

-- A store that has lost writes, or was away, believes the replica.
local lost = arg.version > version
if lost then
  version = arg.version
  share, refusal = math.min(arg.share, arg.rate), now - arg.refusal
  limit = rate()
end
if lost or arg.rejoins == 1 then
  level = math.max(level, math.min(math.max(level + arg.alone, arg.level), size() + margin))
end
version = version + 1

-- What the replica says of itself.
if not me then
  me = { name = name, in_flight = 0, arrived_by = 0, seen = 0, calls = 0, clients = 1, tag = 0, waits = 0, number = 0, granted = 0 }
  replicas[name] = me
end
local unsent = arg.unsent
if me.number == arg.number - 1 and arg.answered < me.number and now - me.seen < arg.lease then -- the last answer was lost
  unsent = unsent + me.granted
end
me.in_flight, me.arrived_by, me.seen = arg.in_flight, now + arg.lease, now
local waited = me.calls > 0 and me.waits > now
me.calls, me.clients = arg.want, math.max(1, arg.clients)
if not waited then
  me.tag = math.max(me.tag, clock + 1 / me.clients)
end
level = math.max(level - unsent, in_flight())

-- What the upstream's answers show.
accepts = accepts + arg.accepted / part
if arg.refused > 0 then
  local lowered = limit < arg.rate
  if now - arg.since >= refusal then
    local took = now - refusal
    if took >= 2 * arg.span then
      share = arg.rate
    else
      local known = arg.span / 20
      local measured = (share * known + accepts) / (known + took)
      share = math.min(math.max(measured, share / 2, arg.rate / 10), arg.rate)
    end
    refusal, accepts = now, 0
    if not lowered then
      margin = math.max(margin, math.min(2 * margin, arg.worst_margin))
    end
  end
  limit = rate()
  level = math.max(level, size() + margin * limit * part / arg.rate) + arg.refused
end

-- An upstream that is blocked as a whole gets one call a minute, of all replicas.
local seen_block, lifted, probe_unsent = arg.block == 1, arg.block == 2, arg.block == 3
if lifted then
  probe_at = 0
elseif seen_block and probe_at == 0 then
  probe_at = now + arg.probe
elseif probe_unsent and probe_at > 0 then
  probe_at = now
end
if probe_at > now then
  me.calls = 0
elseif probe_at > 0 then
  me.calls = math.min(me.calls, 1)
end

-- The slots that are due, and the replica's own. The others' are left for them.
local left, other_calls, other_clients, seen = {}, 0, 0, 0
for _, r in pairs(replicas) do
  if now - r.seen < arg.seen then
    seen = seen + 1
  end
  if r.calls > 0 and (r == me or r.waits > now) then
    left[r] = { calls = r.calls, tag = r.tag }
    if r ~= me then
      other_calls, other_clients = other_calls + r.calls, other_clients + r.clients
    end
  end
end

-- next_turn is the replica with the lowest tag.
local function next_turn()
  local turn
  for r, l in pairs(left) do
    if not turn or l.tag < left[turn].tag or l.tag == left[turn].tag and r.name < turn.name then
      turn = r
    end
  end
  return turn
end

local free, slot, granted, wait = size() - level, 1, 0, 0
local wanted = me.calls
while granted < wanted do
  local r = next_turn()
  local l = left[r]
  if r == me then
    local missing = slot - free
    if missing > arg.rounding then
      wait = math.min(missing / (limit * part) + 1e-6, arg.max_sleep)
      break
    end
    granted = granted + 1
    clock = math.max(clock, l.tag)
  end
  l.calls = l.calls - 1
  l.tag = l.tag + 1 / r.clients
  if l.calls == 0 and r ~= me then
    left[r] = nil
  end
  slot = slot + 1
end
if left[me] then
  me.calls, me.tag = left[me].calls, left[me].tag
end
if granted > 0 and probe_at > 0 then
  probe_at = now + arg.probe
end
me.waits, me.number, me.granted = now + wait + arg.grace, arg.number, granted
me.in_flight = me.in_flight + granted
level = math.max(level + granted, in_flight())

-- It is kept.
local function exact(number)
  return string.format('%.17g', number)
end
local fields = {
  'at', exact(at), 'ahead', exact(ahead), 'part', exact(part), 'level', exact(level), 'limit', exact(limit), 'margin', margin,
  'share', exact(share), 'refusal', exact(refusal), 'accepts', exact(accepts),
  'version', string.format('%.0f', version), 'clock', exact(clock), 'probe_at', exact(probe_at),
}
for _, r in pairs(replicas) do
  if now - r.seen < arg.seen then
    fields[#fields + 1] = 'replica:' .. r.name
    fields[#fields + 1] = table.concat({
      r.in_flight, exact(r.arrived_by), exact(r.seen), r.calls, r.clients, exact(r.tag), exact(r.waits), r.number, r.granted,
    }, ' ')
  else
    redis.call('HDEL', key, 'replica:' .. r.name)
  end
end
redis.call('HSET', key, unpack(fields))
redis.call('EXPIRE', key, arg.kept)

return {
  granted, exact(wait), string.format('%.0f', version), exact(level), margin, exact(share), exact(now - refusal),
  other_calls, other_clients, seen, level <= in_flight() + arg.rounding and 1 or 0,
  probe_at > 0 and 1 or 0, exact(math.max(0, probe_at - now)), exact(part),
}
