-- Runs every command that the adapters use, on keys of its own, and deletes these keys. The first command that the server refuses
-- ends the script with the server's error.
-- KEYS: string, hash, set, sorted set, stream; all in one slot. ARGV: channel of all nodes, channel of the slot.
local text, hash, set, sorted, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
redis.call('DEL', text, hash, set, sorted, stream)
redis.call('TIME')

redis.call('SET', text, '1', 'NX', 'EX', 5)
redis.call('INCR', text)
redis.call('INCRBY', text, 2)
redis.call('DECRBY', text, 2)
redis.call('MGET', text)
redis.call('GET', text)
redis.call('PTTL', text)

redis.call('HSET', hash, 'field', '1')
redis.call('HGET', hash, 'field')
redis.call('PEXPIRE', hash, 5000)
redis.call('HDEL', hash, 'field')

redis.call('SADD', set, 'member')
redis.call('SMEMBERS', set)

redis.call('ZADD', sorted, 'NX', 1, 'member')
redis.call('EXPIRE', sorted, 5)
redis.call('ZRANGE', sorted, 0, 0)
redis.call('ZREM', sorted, 'member')

redis.call('XGROUP', 'CREATE', stream, 'group', '0', 'MKSTREAM')
local id = redis.call('XADD', stream, 'MAXLEN', '~', 10, '*', 'n', '1')
redis.call('XREADGROUP', 'GROUP', 'group', 'consumer', 'COUNT', 1, 'STREAMS', stream, '>')
redis.call('XLEN', stream)
redis.call('XRANGE', stream, id, id)
redis.call('XPENDING', stream, 'group', '-', '+', 1)
redis.call('XINFO', 'GROUPS', stream)
redis.call('XINFO', 'CONSUMERS', stream, 'group')
redis.call('XCLAIM', stream, 'group', 'consumer', 0, id, 'JUSTID')
redis.call('XACK', stream, 'group', id)
redis.call('XDEL', stream, id)
redis.call('XGROUP', 'DELCONSUMER', stream, 'group', 'consumer')

redis.call('PUBLISH', ARGV[1], '')
redis.call('SPUBLISH', ARGV[2], '')
redis.call('DEL', text, hash, set, sorted, stream)
return 1
