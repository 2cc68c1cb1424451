-- Stores the product list, unless its version was raised since it was read.
-- KEYS: version, list (both in one slot). ARGV: version, list, time to live in milliseconds.
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1] .. '\n' .. ARGV[2], 'PX', ARGV[3])
return 1
