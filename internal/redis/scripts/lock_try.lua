-- Takes the locks that are free.
-- KEYS: locks. ARGV: token, time to live in seconds. Returns the positions of the busy ones.
local busy = {}
for i, key in ipairs(KEYS) do
  if not redis.call('SET', key, ARGV[1], 'NX', 'EX', ARGV[2]) then
    busy[#busy + 1] = i
  end
end
return busy
