"""What the store and the bus on PostgreSQL have in common: its URLs, and how a connection is opened."""
