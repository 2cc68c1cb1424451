-- Releases the product locks that have this token, and notifies their waiters. With a turn to give, it reserves the lock for the
-- first waiter instead: for as long as that waiter needs, up to a bound.
-- KEYS: for each product the lock and the set of its waiters. ARGV: token, longest turn in milliseconds (0 for none), channel,
-- products.
-- A key of another type is left as it is, and its waiters are notified, since they can proceed without the lock. The other locks are
-- released all the same; the error is returned at the end.
local released, failed = {}, nil
for i = 1, #KEYS, 2 do
  local lock, waiting = KEYS[i], KEYS[i + 1]
  local holder = redis.pcall('GET', lock)
  if holder == ARGV[1] then
    local queue = redis.pcall('ZRANGE', waiting, 0, 0)
    failed = failed or queue.err and queue
    local first = not queue.err and queue[1]
    if first and ARGV[2] ~= '0' then
      local needs = tonumber(string.match(first, ':(%d+)$')) or 25
      redis.call('SET', lock, 'turn:' .. first, 'PX', math.min(needs, tonumber(ARGV[2])))
      redis.call('ZREM', waiting, first)
    else
      redis.call('DEL', lock)
    end
    if first then
      released[#released + 1] = ARGV[3 + (i + 1) / 2]
    end
  elseif type(holder) == 'table' then
    failed = failed or holder
    released[#released + 1] = ARGV[3 + (i + 1) / 2]
  end
end
if #released > 0 then
  redis.call('PUBLISH', ARGV[3], table.concat(released, ' '))
end
return failed or #released
