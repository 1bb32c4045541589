"""What the EC2 actions mean: one handler each, between botocore's parameter shapes and the store.

A handler reads its parameters, looks at the caller's own rows only and raises :class:`econe_api.errors.Ec2Error` for
anything it does not do: nothing is passed over in silence, nothing is stored that the data plane cannot enforce.  What
it raises rolls its transaction back, so an error changes nothing.
"""

from econe_api.actions.catalogue import ACTIONS

__all__ = ["ACTIONS"]
