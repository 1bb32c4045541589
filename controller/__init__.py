"""The composer: store snapshot x port bindings -> intent per bridge -> flows -> switch, acknowledged.

Holds no truth of its own: everything here can be forgotten and built again from the store, the agents and the switches.
"""
