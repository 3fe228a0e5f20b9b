"""The history that several nodes share, on Redis or Valkey: what makes them one server.

address.py    redis:// URL → RedisAddress
keys.py       what is called how
entries.py    a batch of messages ↔ the bytes of a stream entry
news.py       what is announced when a batch is appended
scripts.py    what happens inside Redis at one stroke, in Lua
seam.py       what a link and its users say to each other
link.py       two connections that come back: commands, and announcements
backlog.py    what this node has said and Redis has not taken yet
followed.py   one channel with members here: its place in the stream, and what is remembered of it
replays.py    a replay that begins before that is known
leases.py     which node's member has a uid
history.py    all of it together: `IHistory` and `IClaims`
"""
