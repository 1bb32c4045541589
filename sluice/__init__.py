"""The command line of the operator: accounts, keys, quotas and pools in the store, and how the cloud is doing."""
