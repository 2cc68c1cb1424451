-- Returns prefetched messages of a consumer, as entries of their own behind all others.
-- KEYS: stream, done. ARGV: group, consumer, wake-up channel, "true" to return them even if other entries wait; then for each
-- entry: id, number of messages, positions returned, number of those, the messages, earlier deliveries.
-- Returns 1 when the messages were returned.
local stream, group = KEYS[1], ARGV[1]
if ARGV[4] ~= 'true' then
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local fact = {}
    for k = 1, #info, 2 do
      fact[info[k]] = info[k + 1]
    end
    if fact.name == group and #redis.call('XRANGE', stream, '(' .. fact['last-delivered-id'], '+', 'COUNT', 1) > 0 then
      return 0
    end
  end
end
for i = 5, #ARGV, 6 do
  local id, n = ARGV[i], tonumber(ARGV[i + 1])
  if #redis.call('XPENDING', stream, group, id, id, 1, ARGV[2]) == 1 then -- otherwise another consumer has reclaimed it
    local done = redis.call('HGET', KEYS[2], id) or string.rep('0', n)
    for position in string.gmatch(ARGV[i + 2], '%d+') do
      local p = tonumber(position)
      done = string.sub(done, 1, p - 1) .. '1' .. string.sub(done, p + 1)
    end
    redis.call('XADD', stream, '*', 'n', ARGV[i + 3], 'm', ARGV[i + 4], 'a', ARGV[i + 5])
    if string.find(done, '0', 1, true) then
      redis.call('HSET', KEYS[2], id, done)
    else -- the other messages were acknowledged
      redis.call('HDEL', KEYS[2], id)
      redis.call('XACK', stream, group, id)
      redis.call('XDEL', stream, id)
    end
  end
end
redis.call('SPUBLISH', ARGV[3], 'new')
return 1
