-- Releases a lock if it has this token, and notifies waiters. KEYS: lock. ARGV: token, channel.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', ARGV[2], '')
end
return 0
