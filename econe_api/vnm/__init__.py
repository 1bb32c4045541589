"""Virtual machines that OpenNebula runs by itself, with its own security groups, taken over into the store."""
