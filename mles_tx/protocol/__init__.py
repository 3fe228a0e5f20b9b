"""The rules of Mles v2 and the RFC 6455 frames it uses, as plain functions and values.

Nothing here knows a reactor, a socket or a clock: time is an argument.
"""
