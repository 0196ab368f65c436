"""The door to the database: transactions, leases, checkpoints, the tables of streams, and the one upsert."""
