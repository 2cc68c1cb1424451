-- Keeps the list of products, unless it was dropped since its version was read.
-- KEYS: the version; the list (both in one slot). ARGV: the version, the list, milliseconds to keep it.
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1] .. '\n' .. ARGV[2], 'PX', ARGV[3])
return 1
