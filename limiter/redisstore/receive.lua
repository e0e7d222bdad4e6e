-- Makes a write one that nobody repeats any more, besides those with its key if that is
-- kept; see meet.lua. One that is forgotten stays so.
-- KEYS: the write. ARGV: its id, and 1 if its key is kept.
local known = redis.call('HMGET', KEYS[1], 'calls', 'keys')
if not known[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'received', 1)
for call in string.gmatch(known[1], '[^\n]+') do
  redis.call('HDEL', call, ARGV[1])
end
for key in string.gmatch(ARGV[2] == '1' and '' or known[2], '[^\n]+') do
  if redis.call('GET', key) == ARGV[1] then
    redis.call('DEL', key)
  end
end
return 1
