-- Gives back the messages of an entry beyond those that its consumer has asked for: as an entry of their own.
-- KEYS: the stream, what is done of entries. ARGV: id, how many messages it has, the positions given back, how many those
-- are, the messages, how often they were delivered before, the channel of the bell.
local done = redis.call('HGET', KEYS[2], ARGV[1]) or string.rep('0', tonumber(ARGV[2]))
for position in string.gmatch(ARGV[3], '%d+') do
  local p = tonumber(position)
  done = string.sub(done, 1, p - 1) .. '1' .. string.sub(done, p + 1)
end
redis.call('HSET', KEYS[2], ARGV[1], done)
redis.call('XADD', KEYS[1], '*', 'n', ARGV[4], 'm', ARGV[5], 'a', ARGV[6])
redis.call('PUBLISH', ARGV[7], 'new')
return 1
