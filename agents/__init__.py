"""One process per hypervisor: prepares the bridge and reports which port is where.

Started as ``python -m agents``.  What may enter: the local OVSDB (in ``agents.ovsdb`` alone) and a connection to the
controller.  What must never enter: EC2, flows, OpenFlow.
"""
