-- Releases a product's lock if the token is its holder's. If somebody waits, all are told, and with a turn to give the one
-- who has waited longest goes first: for so long nobody else gets the lock.
-- KEYS: the lock; who waits (both in one slot). ARGV: token, milliseconds of the turn (0 for none), channel, product.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
if not first then
  redis.call('DEL', KEYS[1])
  return 1
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], 'turn:' .. first, 'PX', ARGV[2])
  redis.call('ZREM', KEYS[2], first)
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
