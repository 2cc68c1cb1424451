-- Adds entries to every group of a topic, or to none when one of them has no room, and publishes them to subscriptions.
-- KEYS: set of groups. ARGV: tag of the topic, bound of a group, number of messages, number of groups that the publisher knows,
-- their names, then for each entry: number of messages, messages. Returns the groups, or the number 0 when one has no room.
local tag, bound, total, known = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if known > 0 then -- a server that restarted empty has lost them
  redis.call('SADD', KEYS[1], unpack(ARGV, 5, 4 + known))
end
local groups = redis.call('SMEMBERS', KEYS[1])
for _, group in ipairs(groups) do
  local count = tonumber(redis.call('GET', tag .. 'count:' .. group) or '0')
  if count > 0 and redis.call('XLEN', tag .. 'stream:' .. group) == 0 then
    redis.call('DEL', tag .. 'count:' .. group, tag .. 'done:' .. group)
    count = 0
  end
  if count + total > bound then
    return 0
  end
end
for _, group in ipairs(groups) do
  for i = 5 + known, #ARGV, 2 do
    redis.call('XADD', tag .. 'stream:' .. group, '*', 'n', ARGV[i], 'm', ARGV[i + 1])
  end
  redis.call('INCRBY', tag .. 'count:' .. group, total)
end
for i = 5 + known, #ARGV, 2 do
  redis.call('SPUBLISH', tag .. 'messages', ARGV[i + 1])
end
if #groups > 0 then
  redis.call('SPUBLISH', tag .. 'wakeup', 'new')
end
return groups
