"""The EC2 Query protocol: bytes of an HTTP request to parameters, answers to XML.

Everything that is peculiar to an operation comes from the service model that botocore ships, so an operation needs no
code here.  In this package: no store, no signatures, no actions.
"""
