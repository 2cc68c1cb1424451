-- Takes a token from a bucket. The unit of the level is a fraction of a token: one token divided by the nanoseconds of the period.
-- KEYS: bucket. ARGV: tokens, period in nanoseconds.
-- Returns {1 when allowed, whole tokens left, nanoseconds until the next token, nanoseconds until the bucket is full}.
local tokens, per = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tokens * per
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local level = full
local kept = redis.call('GET', KEYS[1])
if kept then
  local at, was = string.match(kept, '^(%d+) (%d+)$')
  local elapsed = math.max(0, now - tonumber(at)) * 1000
  if elapsed < per then
    level = math.min(full, tonumber(was) + tokens * elapsed)
  end
end
local allowed, wait = 0, 0
if level >= per then
  allowed, level = 1, level - per
else
  wait = math.ceil((per - level) / tokens)
end
local reset = math.ceil((full - level) / tokens)
redis.call('SET', KEYS[1], string.format('%.0f %.0f', now, level), 'PX', math.ceil(reset / 1000000) + 1)
return {allowed, math.floor(level / per), wait, reset}
