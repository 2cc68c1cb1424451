-- Stores the last event of a cache channel, unless a later one is stored.
-- KEYS: hash of the channel. ARGV: time in microseconds, frame, time to live in milliseconds.
local at = redis.call('HGET', KEYS[1], 'at')
if at and tonumber(at) > tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'frame', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
