"""Networks on one machine: the namespace lab and the Mininet topologies.  Tests, the demo and ``up`` stand on them.

Nothing that runs in production imports this package.
"""
