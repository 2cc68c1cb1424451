-- Releases a lock whose holder's token it is, and announces that. KEYS: the lock. ARGV: token, channel.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', ARGV[2], '')
end
return 0
