-- Takes a product's lock for a node that waits for it, or has it wait in line.
-- KEYS: the lock; who waits, by the time since when (both in one slot). ARGV: token, milliseconds to live, node.
-- Returns {} when the lock was taken, else {its holder's token, milliseconds until it expires}.
local holder = redis.call('GET', KEYS[1])
if not holder or holder == 'turn:' .. ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[3])
  return {}
end
local now = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'NX', now[1] * 1000000 + now[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], 2 * ARGV[2])
return {holder, redis.call('PTTL', KEYS[1])}
