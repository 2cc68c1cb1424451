-- Takes products' locks for a node that waits for them, or puts the node into the queue of waiters.
-- KEYS: for each product the lock, and the set of its waiters by the time since when. ARGV: token, seconds to live, node, its
-- name in the queue (the node and the milliseconds of the turn that it needs), then for each product since when the node has
-- waited, and its name in the queue so far; both are empty for a node that has not waited.
-- Returns five values for each product. A lock that was taken: '', 0, 0, 0, ''. A lock that another holds: its holder's token, the
-- milliseconds until it expires, since when the node waits, 1 if the node had lost its place to a turn that it missed, ''. A product
-- with a key of another type: '', 0, 0, 0 and the error. It does not keep the locks of the others from being taken.
local now = redis.call('TIME')
local time = now[1] * 1000000 + now[2]
local node, name = ARGV[3], ARGV[4]
local answers = {}
for i = 1, #KEYS, 2 do
  local lock, waiting = KEYS[i], KEYS[i + 1]
  local since, before = math.min(tonumber(ARGV[4 + i]) or time, time), ARGV[5 + i]
  local answer = {'', 0, 0, 0, ''}
  local failed = nil
  local holder = redis.pcall('GET', lock)
  if type(holder) == 'table' then
    failed = holder
  elseif not holder or string.match(holder, '^turn:([^:]*)') == node then
    redis.call('SET', lock, ARGV[1], 'EX', ARGV[2])
    redis.pcall('ZREM', waiting, name, before) -- the release reports a set of another type
  else
    local missed = 0
    local removed = before ~= '' and redis.pcall('ZREM', waiting, before)
    if removed == 0 then
      missed = 1
    end
    local added = redis.pcall('ZADD', waiting, 'NX', since, name)
    if type(added) == 'table' then
      failed = added
    else
      redis.call('EXPIRE', waiting, 2 * ARGV[2])
      answer = {holder, redis.call('PTTL', lock), since, missed, ''}
    end
  end
  if failed then
    if not string.match(failed.err, '^WRONGTYPE') then
      return failed
    end
    answer[5] = failed.err
  end
  for k = 1, 5 do
    answers[#answers + 1] = answer[k]
  end
end
return answers
