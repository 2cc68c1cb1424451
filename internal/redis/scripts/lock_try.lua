-- Takes those of the locks that are free.
-- KEYS: the locks. ARGV: token, seconds to live. Returns the positions of those that others hold.
local busy = {}
for i, key in ipairs(KEYS) do
  if not redis.call('SET', key, ARGV[1], 'NX', 'EX', ARGV[2]) then
    busy[#busy + 1] = i
  end
end
return busy
