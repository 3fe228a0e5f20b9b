"""What happens inside Redis at one stroke: scripts in Lua, each for the keys of one channel.

APPEND takes a batch in unless it has it already, forgets what is too much, and announces the batch.
LOAD reads the newest entries of a stream, newest first: what a channel remembers.
READ reads on from a place, and says where that is if the stream is not the one it was.
CLAIM and RELEASE are for uids.

A stream has an *epoch*, a name that it gets when it is begun. When the stream is lost, or when Redis has gone back to
an older state of it (a fail-over, an older file), it goes on under another epoch: who reads it learns from the *base*,
the last id of what is left of the earlier one, where what it does not know begins.
"""

from hashlib import sha1
from typing import NamedTuple

from mles_tx.channels.history import IDLE_SECONDS

__all__ = ["APPEND", "CLAIM", "LOAD", "READ", "RELEASE", "RETAIN_BYTES", "RETAIN_SECONDS", "Script"]

#: Seconds and bytes for which a stream keeps more than a channel remembers, whichever is over first: so that a
#: node that was away for a while misses nothing.
RETAIN_SECONDS = 60.0
RETAIN_BYTES = 32 * 1024 * 1024

#: Milliseconds after which the keys of a channel expire, and after which they are told so again.
_EXPIRE = int(IDLE_SECONDS * 1000)
_AGAIN = 3600 * 1000

#: Milliseconds after which a node that says nothing on a channel is forgotten there: an outage does not last that long.
_FORGET = 7 * 24 * 3600 * 1000


class Script(NamedTuple):
    """A script and the name Redis knows it by once it is loaded."""

    text: str
    digest: str


def _script(text: str, **numbers: float) -> Script:
    for name, number in numbers.items():
        text = text.replace(name, f"{number:.0f}")
    return Script(text, sha1(text.encode()).hexdigest())


_BEFORE = """
local function before(x, y)
  local a, b = string.match(x, '^(%d+)-(%d+)$')
  local c, d = string.match(y, '^(%d+)-(%d+)$')
  a, c = tonumber(a), tonumber(c)
  return a < c or (a == c and tonumber(b) < tonumber(d))
end
"""

#: KEYS: log, meta, joins, nodes. ARGV: node, number, body, messages, bytes, uid of a join frame or '', limits of
#: messages and of bytes, epoch and place of the writer or '', a name for a new epoch, where to announce, the number of
#: the batch that has to be there already, or 0.
#: Answers: 1; 0 when it was there; -1 when the one before it is missing; epoch; the id before it; its id.
APPEND = _script(
    _BEFORE
    + """
local log, meta, joins, nodes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local m = redis.call('HMGET', meta, 'epoch', 'last', 'base', 'count', 'bytes', 'due', 'trimmed', 'swept')
local epoch, last, base = m[1], m[2], m[3]
local count, bytes = tonumber(m[4] or 0), tonumber(m[5] or 0)
local due, trimmed, swept = tonumber(m[6] or 0), m[7] or '0-0', tonumber(m[8] or 0)
if not epoch then
  redis.call('DEL', log, joins, nodes)
  epoch, last, base = ARGV[11], '0-0', '0-0'
elseif epoch == ARGV[9] and before(last, ARGV[10]) then
  epoch, base = ARGV[11], last
end
local number = tonumber(ARGV[2])
local known = redis.call('HGET', nodes, ARGV[1])
known = known and tonumber(string.match(known, '^(%d+)')) or 0
if known >= number then
  return {0, epoch, last, last}
elseif known < tonumber(ARGV[13]) then
  return {-1, epoch, last, last}
end
local uid = ARGV[6]
local fields = {'b', ARGV[3], 'c', ARGV[4], 's', ARGV[5], 'p', last}
if uid ~= '' then
  fields[9], fields[10] = 'j', uid
end
local id = redis.call('XADD', log, '*', unpack(fields))
if redis.call('XLEN', log) == 1 then
  count, bytes = 0, 0
end
if not before(last, id) then
  redis.call('DEL', log, joins)
  epoch, last, base, trimmed, count, bytes = ARGV[11], '0-0', '0-0', '0-0', 0, 0
  fields[8] = last
  id = redis.call('XADD', log, '*', unpack(fields))
end
count, bytes = count + tonumber(ARGV[4]), bytes + tonumber(ARGV[5])
local now = tonumber(string.match(id, '^(%d+)'))
if redis.call('HSET', nodes, ARGV[1], ARGV[2] .. ':' .. string.format('%.0f', now)) == 1 then
  redis.call('PEXPIRE', nodes, EXPIRE_MS)
end
if uid ~= '' then
  local earlier = redis.call('HGET', joins, uid)
  if earlier then
    local found = redis.call('XRANGE', log, earlier, earlier)
    if found[1] then
      count, bytes = count - tonumber(found[1][2][4]), bytes - tonumber(found[1][2][6])
      redis.call('XDEL', log, earlier)
    end
  end
  if redis.call('HSET', joins, uid, id) == 1 then
    redis.call('PEXPIRE', joins, EXPIRE_MS)
  end
end
if now >= swept + 1000 or bytes > RETAIN_BYTES then
  local limit, max_bytes = tonumber(ARGV[7]), tonumber(ARGV[8])
  local from, before_it, keep = '-', trimmed, nil
  while not keep do
    local heads = redis.call('XRANGE', log, from, '+', 'COUNT', 16)
    for _, head in ipairs(heads) do
      local f = head[2]
      local c, s = tonumber(f[4]), tonumber(f[6])
      local enough = count - c >= limit or bytes - s >= max_bytes
      local old = now - tonumber(string.match(head[1], '^(%d+)')) >= RETAIN_MS or bytes > RETAIN_BYTES
      if head[1] == id or not enough or not old then
        keep = head[1]
        break
      end
      count, bytes, trimmed, from = count - c, bytes - s, head[1], '(' .. head[1]
      if f[9] and redis.call('HGET', joins, f[10]) == head[1] then
        redis.call('HDEL', joins, f[10])
      end
    end
  end
  if trimmed ~= before_it then
    redis.call('XTRIM', log, 'MINID', keep)
  end
  swept = now
end
if now >= due then
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, EXPIRE_MS)
  end
  due = now + AGAIN_MS
  local all = redis.call('HGETALL', nodes)
  for i = 1, #all, 2 do
    if tonumber(string.match(all[i + 1], ':(%d+)$')) < now - FORGET_MS then
      redis.call('HDEL', nodes, all[i])
    end
  end
end
redis.call('HSET', meta, 'epoch', epoch, 'last', id, 'base', base, 'count', count, 'bytes', bytes, 'due', due,
  'trimmed', trimmed, 'swept', swept)
if not m[1] then
  redis.call('PEXPIRE', meta, EXPIRE_MS)
end
redis.call('PUBLISH', ARGV[12], epoch .. ' ' .. last .. ' ' .. id .. '\\n' .. ARGV[3])
return {1, epoch, last, id}
""",
    EXPIRE_MS=_EXPIRE,
    AGAIN_MS=_AGAIN,
    FORGET_MS=_FORGET,
    RETAIN_MS=RETAIN_SECONDS * 1000,
    RETAIN_BYTES=RETAIN_BYTES,
)

#: KEYS: log, meta. ARGV: the place to begin at, or '' for the end of the stream; bytes.
#: Answers: epoch, or '' when there is no stream; its last id; entries, newest first.
LOAD = _script(
    """
local m = redis.call('HMGET', KEYS[2], 'epoch', 'last')
if not m[1] then
  return {'', '0-0', {}}
end
local from = ARGV[1]
if from == '' then
  from = m[2]
end
local entries, size = {}, 0
local more = true
while more and size < tonumber(ARGV[2]) do
  local part = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', 8)
  for _, entry in ipairs(part) do
    if size < tonumber(ARGV[2]) then
      entries[#entries + 1] = {entry[1], entry[2][2]}
      size = size + #entry[2][2]
    end
    from = '(' .. entry[1]
  end
  more = #part == 8
end
return {m[1], m[2], entries}
"""
)

#: KEYS: log, meta. ARGV: epoch, or '' for any; the place to read on from; bytes.
#: Answers: epoch, or '' when there is no stream; its last id; the place it was read from, which is another one when the
#: stream is; the last id that was forgotten for want of room; entries, oldest first.
READ = _script(
    _BEFORE
    + """
local m = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'base', 'trimmed')
if not m[1] then
  return {'', '0-0', '0-0', '0-0', {}}
end
local from = ARGV[2]
if m[1] ~= ARGV[1] then
  if ARGV[1] ~= '' and before(m[3], from) then
    from = m[3]
  end
elseif before(m[2], from) then
  from = m[2]
end
local at, entries, size = from, {}, 0
local more = true
while more and size < tonumber(ARGV[3]) do
  local part = redis.call('XRANGE', KEYS[1], '(' .. at, '+', 'COUNT', 8)
  for _, entry in ipairs(part) do
    if size < tonumber(ARGV[3]) then
      entries[#entries + 1] = {entry[1], entry[2][2]}
      size = size + #entry[2][2]
    end
    at = entry[1]
  end
  more = #part == 8
end
return {m[1], m[2], from, m[4], entries}
"""
)

#: KEYS: uids. ARGV: for each uid three: itself; who wants it; whom it may be taken from, or ''.
#: Answers: for each that somebody else has two: the uid, and who has it.
CLAIM = _script(
    """
local taken = {}
for i = 1, #ARGV, 3 do
  local holder = redis.call('HGET', KEYS[1], ARGV[i])
  if not holder or holder == ARGV[i + 1] or holder == ARGV[i + 2] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  else
    taken[#taken + 1] = ARGV[i]
    taken[#taken + 1] = holder
  end
end
redis.call('PEXPIRE', KEYS[1], EXPIRE_MS)
return taken
""",
    EXPIRE_MS=_EXPIRE,
)

#: KEYS: uids. ARGV: the uid; who has it. Somebody else's is left alone.
RELEASE = _script(
    """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
"""
)
