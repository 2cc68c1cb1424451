-- Acknowledges messages. Deletes each entry whose messages are all acknowledged.
-- KEYS: stream, count, done (for each entry one digit per message). ARGV: group, then for each entry: id, number of messages,
-- positions of the acknowledged ones, from 1 (empty for all).
local left = 0
local i = 2
while i <= #ARGV do
  local id, n, positions = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local done = redis.call('HGET', KEYS[3], id) or string.rep('0', n)
  local before = select(2, string.gsub(done, '1', ''))
  if positions == '' then
    done = string.rep('1', n)
  else
    for position in string.gmatch(positions, '%d+') do
      local p = tonumber(position)
      done = string.sub(done, 1, p - 1) .. '1' .. string.sub(done, p + 1)
    end
  end
  local now = select(2, string.gsub(done, '1', ''))
  if now == n then
    redis.call('HDEL', KEYS[3], id)
    if redis.call('XACK', KEYS[1], ARGV[1], id) == 1 then
      redis.call('XDEL', KEYS[1], id)
      left = left + now - before
    end
  elseif #redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1) == 1 then -- without a group: an error, whose length is 0
    redis.call('HSET', KEYS[3], id, done)
    left = left + now - before
  end
  i = i + 3
end
if left > 0 and redis.call('DECRBY', KEYS[2], left) < 0 then
  redis.call('SET', KEYS[2], 0)
end
return left
