"""Who is who between the machines of a cloud: a small certificate authority, join tokens, and contexts for TLS.

What may enter: X.509, files of keys, TLS settings.  What must never enter: sockets, the store, what the messages that
are protected mean.
"""
