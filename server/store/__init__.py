"""The store: one async protocol over SQLite and PostgreSQL."""
