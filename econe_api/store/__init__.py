"""The durable truth in SQL: transactions, accounts, pools, quotas, and the feed of changes that followers read."""
