-- Releases products' locks whose holder's token it is. If somebody waits for one, all are told, and with a turn to give
-- the one who has waited longest goes first: for as long as it needs, and a bound at most, nobody else gets the lock.
-- KEYS: for each product the lock, and who waits. ARGV: token, milliseconds of the longest turn (0 for none), channel, the
-- products.
-- Keys of another type do not keep the others from being released; their error is returned in the end.
local released, failed = {}, nil
for i = 1, #KEYS, 2 do
  local lock, waiting = KEYS[i], KEYS[i + 1]
  local holder = redis.pcall('GET', lock)
  if holder == ARGV[1] then
    local line = redis.pcall('ZRANGE', waiting, 0, 0)
    failed = failed or line.err and line
    local first = not line.err and line[1]
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
  end
end
if #released > 0 then
  redis.call('PUBLISH', ARGV[3], table.concat(released, ' '))
end
return failed or #released
