"""Starts and stops instances: the interface to what runs them, the namespace backend behind it, the worker.

What may enter: backends, and the worker that holds the store's rows against what a backend reports.  What must never
enter: the EC2 protocol, and OpenFlow.
"""
