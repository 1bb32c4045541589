"""The EC2 words and the durable truth: authentication, protocol, actions, store, change feed, compute backends.

Knows nothing of OpenFlow, of agents or of flows.
"""
