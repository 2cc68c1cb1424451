-- Takes products' locks for a node that waits for them, or has it wait in line.
-- KEYS: for each product the lock, and who waits by the time since when. ARGV: token, seconds to live, node.
-- Returns for each product '' and 0 when it was taken, else its holder's token and the milliseconds until it expires.
local now = redis.call('TIME')
local since = now[1] * 1000000 + now[2]
local answers = {}
for i = 1, #KEYS, 2 do
  local lock, waiting = KEYS[i], KEYS[i + 1]
  local holder = redis.call('GET', lock)
  if not holder or holder == 'turn:' .. ARGV[3] then
    redis.call('SET', lock, ARGV[1], 'EX', ARGV[2])
    redis.call('ZREM', waiting, ARGV[3])
    answers[i], answers[i + 1] = '', 0
  else
    redis.call('ZADD', waiting, 'NX', since, ARGV[3])
    redis.call('EXPIRE', waiting, 2 * ARGV[2])
    answers[i], answers[i + 1] = holder, redis.call('PTTL', lock)
  end
end
return answers
