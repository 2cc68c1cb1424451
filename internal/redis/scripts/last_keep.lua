-- Keeps what a cache channel said last, unless something later is kept.
-- KEYS: the channel's hash. ARGV: the time in microseconds, the frame, milliseconds to keep it.
local at = redis.call('HGET', KEYS[1], 'at')
if at and tonumber(at) > tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'frame', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
