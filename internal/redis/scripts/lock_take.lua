-- Takes products' locks for a node that waits for them, or has it wait in line.
-- KEYS: for each product the lock, and who waits by the time since when. ARGV: token, seconds to live, node, its name in the
-- line (the node and the milliseconds of the turn that it needs), then for each product since when the node has waited, and its
-- name in the line so far; both are empty for a node that has not waited.
-- Returns for each product '', 0, 0 and 0 when it was taken, else its holder's token, the milliseconds until it expires, since
-- when the node waits, and 1 if it had lost its place to a turn that it missed.
local now = redis.call('TIME')
local time = now[1] * 1000000 + now[2]
local node, name = ARGV[3], ARGV[4]
local answers = {}
for i = 1, #KEYS, 2 do
  local lock, waiting = KEYS[i], KEYS[i + 1]
  local since, before = math.min(tonumber(ARGV[4 + i]) or time, time), ARGV[5 + i]
  local holder, missed = redis.call('GET', lock), 0
  if not holder or string.match(holder, '^turn:([^:]*)') == node then
    redis.call('SET', lock, ARGV[1], 'EX', ARGV[2])
    redis.call('ZREM', waiting, name, before)
    holder = ''
  else
    if before ~= '' and redis.call('ZREM', waiting, before) == 0 then
      missed = 1
    end
    redis.call('ZADD', waiting, 'NX', since, name)
    redis.call('EXPIRE', waiting, 2 * ARGV[2])
  end
  answers[#answers + 1] = holder
  answers[#answers + 1] = holder == '' and 0 or redis.call('PTTL', lock)
  answers[#answers + 1] = holder == '' and 0 or since
  answers[#answers + 1] = missed
end
return answers
