"""A Mles v2 server on Twisted and Autobahn: publish-subscribe channels over TLS WebSockets.

Importing this package imports neither a reactor nor Autobahn.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
