"""The pages a browser shows: log-in and account, over the same dispatch as the services (HTTP contract 11)."""
