"""A server's middle held against a simple model: whatever happens in whatever order, everybody sees what it should.

Registry, store, connections and their outboxes are real, on a `Clock`; peers, disk and Redis are in memory. What has to
be seen is said by `expectation`, in lists.
"""
