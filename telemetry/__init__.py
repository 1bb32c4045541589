"""What every process says about itself: log lines and metrics.  Knows nothing of what they are about."""
