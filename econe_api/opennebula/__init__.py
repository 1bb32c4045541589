"""OpenNebula's front end, oned, as Sluice talks to it: XML-RPC calls, documents, states, errors, events."""
