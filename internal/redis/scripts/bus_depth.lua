-- Measures a group, and deletes consumers that have been idle for long and have no pending entries.
-- KEYS: stream, count, done, number of dead-lettered messages. ARGV: group, idle time in milliseconds.
-- Returns {outstanding messages, unacknowledged ones among them, dead-lettered messages}.
local unacked = 0
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000)
if not pending.err then
  for _, entry in ipairs(pending) do
    local found = redis.call('XRANGE', KEYS[1], entry[1], entry[1])[1]
    if found then
      local done = redis.call('HGET', KEYS[3], entry[1]) or ''
      unacked = unacked + tonumber(found[2][2]) - select(2, string.gsub(done, '1', ''))
    end
  end
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local fact = {}
    for k = 1, #consumer, 2 do
      fact[consumer[k]] = consumer[k + 1]
    end
    if fact.pending == 0 and fact.idle > tonumber(ARGV[2]) then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], fact.name)
    end
  end
end
return {tonumber(redis.call('GET', KEYS[2]) or '0'), unacked, tonumber(redis.call('GET', KEYS[4]) or '0')}
