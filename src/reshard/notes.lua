-- The only writer of the notes about a move. KEYS[1] is the mark, KEYS[2] the notes, ARGV[1] the change; see notes.rs.
local mark, notes, change = KEYS[1], KEYS[2], ARGV[1]

-- A script whose first write is one that a full server accepts may write on.
redis.call('HDEL', notes, '-')

local move, state, term = unpack(redis.call('HMGET', mark, 'move', 'state', 'term'))
if move ~= ARGV[2] or state ~= 'armed' then return {'lost'} end
if redis.call('HGET', notes, 'move') ~= move then
  redis.call('DEL', notes)
  redis.call('HSET', notes, 'move', move)
end

if change == 'progress' then
  if term ~= ARGV[3] then return {'term', term} end
  redis.call('HSET', notes, 'progress', ARGV[4], 'at', redis.call('TIME')[1])
elseif change == 'pause' then
  redis.call('HSET', notes, 'paused', '1')
elseif change == 'resume' then
  redis.call('HDEL', notes, 'paused')
end
return {'ok'}
