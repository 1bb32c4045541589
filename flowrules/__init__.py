"""Pure data plane: intent values in, OpenFlow flows out.

What may enter: intent values, and nothing else.  What must never enter: I/O, clocks, random numbers, threads, logging,
Ryu, Open vSwitch bindings.  Import contracts in ``setup.cfg`` hold this line.
"""
