"""A small oned for tests: OpenNebula's XML-RPC protocol, states, quotas and events, without what is behind them."""
