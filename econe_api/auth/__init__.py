"""Who calls: AWS Signature Version 4 (in the Authorization header) and Version 2 (in the parameters)."""
