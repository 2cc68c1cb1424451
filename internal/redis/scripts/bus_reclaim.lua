-- Reclaims entries that were not acknowledged in time, or returns the entries of a consumer that closes. Dead-letters entries that
-- have reached the delivery limit.
-- KEYS: stream, count, done, stream of dead-lettered entries, number of dead-lettered messages. ARGV: group, consumer,
-- acknowledgement time in milliseconds, most deliveries, most entries, wake-up channel, 1 to return the consumer's entries.
-- Returns for each entry {id, messages, number of this delivery (0: dead-lettered), done}.
local group, consumer, within, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local giveBack = ARGV[7] == '1'
local pending
if giveBack then
  pending = redis.call('XPENDING', KEYS[1], group, '-', '+', ARGV[5], consumer)
else
  pending = redis.call('XPENDING', KEYS[1], group, 'IDLE', within, '-', '+', ARGV[5])
end
local answers = {}
for _, entry in ipairs(pending) do
  local id, deliveries = entry[1], entry[4]
  local found = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not found then
    redis.call('XACK', KEYS[1], group, id)
  else
    local field = {a = '0'}
    for k = 1, #found[2], 2 do
      field[found[2][k]] = found[2][k + 1]
    end
    local n, before = tonumber(field.n), tonumber(field.a) + deliveries
    local done = redis.call('HGET', KEYS[3], id) or string.rep('0', n)
    if before >= most then
      local left = select(2, string.gsub(done, '0', ''))
      redis.call('XADD', KEYS[4], 'MAXLEN', '~', 1000, '*', 'n', field.n, 'm', field.m)
      redis.call('XACK', KEYS[1], group, id)
      redis.call('XDEL', KEYS[1], id)
      redis.call('HDEL', KEYS[3], id)
      redis.call('INCRBY', KEYS[5], left)
      if redis.call('DECRBY', KEYS[2], left) < 0 then
        redis.call('SET', KEYS[2], 0)
      end
      answers[#answers + 1] = {id, field.m, 0, done}
    elseif giveBack then
      redis.call('XCLAIM', KEYS[1], group, consumer, 0, id, 'IDLE', within, 'RETRYCOUNT', deliveries, 'JUSTID')
    else
      redis.call('XCLAIM', KEYS[1], group, consumer, within, id)
      answers[#answers + 1] = {id, field.m, before + 1, done}
    end
  end
end
if giveBack then
  if #redis.call('XPENDING', KEYS[1], group, '-', '+', 1, consumer) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, consumer)
  else
    redis.call('SPUBLISH', ARGV[6], 'returned')
  end
end
return answers
