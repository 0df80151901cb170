"""One module per service of the HTTP contract."""
