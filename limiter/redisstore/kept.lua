-- Returns the news that are kept and still hold: of each how many seconds ago it was
-- published, and the text. KEYS are those of publish.lua.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local subjects = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.3f', now), '+inf')
local news = {}
for _, subject in ipairs(subjects) do
  local published, text = string.match(redis.call('HGET', KEYS[1], subject) or '', '^(%S+) (.*)$')
  if published then
    news[#news + 1] = string.format('%.3f', math.max(0, now - tonumber(published)))
    news[#news + 1] = text
  end
end
return news
