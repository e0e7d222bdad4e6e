-- Returns for how many milliseconds each replica has not been seen; -1 if it was not seen
-- within a day. KEYS[1] has when they were seen, see beat.lua. ARGV: the replicas.
local time, absent = redis.call('TIME'), {}
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i, name in ipairs(ARGV) do
  local seen = redis.call('ZSCORE', KEYS[1], name)
  absent[i] = seen and math.max(0, now - tonumber(seen)) or -1
end
return absent
