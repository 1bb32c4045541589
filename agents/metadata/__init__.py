"""The instance metadata service of one hypervisor: a process in a network namespace of its own, without privileges.

Started by the agent, which asks the controller in its name.  What may enter: HTTP from instances, facts from the agent.
What must never enter: the host's network, the agent's memory, the decision who asks (the switch has made it).
"""
