-- Takes product locks for a node that waits for them, or adds the node to the queue of waiters.
-- KEYS: for each product the lock and the sorted set of its waiters, by the time since which they wait. ARGV: token, time to live in
-- seconds, node, its name in the queue (the node and the milliseconds of the turn that it needs); then for each product the time
-- since which the node has waited and its earlier name in the queue, both empty for a new waiter.
-- Returns five values for each product. Lock taken: '', 0, 0, 0, ''. Lock busy: the holder's token, milliseconds until it expires, the
-- time since which the node waits, 1 if the node had missed its turn, ''. Key of another type: '', 0, 0, 0, error; the locks of
-- the other products are taken all the same.
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
