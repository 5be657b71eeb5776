-- The only writer of marks. KEYS[1] is the mark, ARGV[1] the change; see change.rs.
local key, change = KEYS[1], ARGV[1]

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end

local function set(...)
  redis.call('HSET', key, ...)
  redis.call('PUBLISH', key, change)
end

-- A script whose first write is one that a full server accepts may write on.
redis.call('HDEL', key, '-')

local mark = redis.call('HMGET', key, 'move', 'state', 'term', 'hold', 'decision', 'run')
local move, state, term, hold, decision, run = unpack(mark)

if change == 'arm' then
  local _, new_move, new_term, before, after, new_hold, buckets, moved = unpack(ARGV)
  if term and tonumber(term) >= tonumber(new_term) then return {'term', term} end
  if state == 'armed' and move ~= new_move then return {'busy', move} end
  if move == new_move then
    set('term', new_term)
    return {'ok'}
  end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.find(field, '^moved@') or string.find(field, '^intent@') then
      redis.call('HDEL', key, field)
    end
  end
  if hold and tonumber(hold) > tonumber(new_hold) then new_hold = hold end
  set('move', new_move, 'state', 'armed', 'term', new_term, 'before', before, 'after', after,
    'hold', new_hold, 'buckets', buckets, 'decision', 'abort', 'moved', moved, 'run', run_id())
  return {'ok'}
end

if change == 'recall' then
  if move then return {'lost'} end
  local _, new_move, new_state, new_term, before, after, new_hold, buckets, moved = unpack(ARGV)
  set('move', new_move, 'state', new_state, 'term', new_term, 'before', before, 'after', after,
    'hold', new_hold, 'buckets', buckets, 'decision', 'abort', 'moved', moved, 'run', run_id())
  return {'ok'}
end

if move ~= ARGV[2] then return {'lost'} end

if change == 'abort' then
  if hold ~= ARGV[3] then return {'lost'} end
  if decision ~= 'open' then return {decision} end
  if run ~= run_id() then return {'restarted'} end
  set('decision', 'abort')
  return {'abort'}
end

if change == 'remove' then
  if state == 'armed' then return {'busy', move} end
  redis.call('DEL', key)
  redis.call('PUBLISH', key, change)
  return {'ok'}
end

if term ~= ARGV[3] then return {'term', term} end

if change == 'hold' then
  if decision == 'open' then return {'open', hold} end
  if run ~= run_id() then return {'restarted'} end
  if tonumber(hold) >= tonumber(ARGV[4]) then return {'lost'} end
  set('hold', ARGV[4], 'buckets', ARGV[5], 'decision', 'open')
elseif change == 'commit' then
  if hold ~= ARGV[4] then return {'lost'} end
  if decision ~= 'open' then return {decision} end
  if run ~= run_id() then return {'restarted'} end
  set('decision', 'commit', 'moved', ARGV[5])
  return {'commit'}
elseif change == 'settle' then
  set('hold', ARGV[4], 'decision', ARGV[5], 'moved', ARGV[6], 'run', run_id())
elseif change == 'copy' then
  set('moved@' .. ARGV[4], ARGV[5])
  redis.call('HDEL', key, 'intent@' .. ARGV[4])
elseif change == 'intend' then
  set('intent@' .. ARGV[4], ARGV[5])
elseif change == 'forget' then
  redis.call('HDEL', key, 'intent@' .. ARGV[4])
elseif change == 'finish' then
  set('state', ARGV[4])
end
return {'ok'}
