"""Tells twistd that there is a `mles`. Strings only: nothing is imported before somebody asks for it."""

from twisted.application.service import ServiceMaker

mles = ServiceMaker("mles", "mles_tx.service.tap", "A Mles v2 server: channels over TLS WebSockets.", "mles")
