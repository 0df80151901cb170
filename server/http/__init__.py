"""The edge: routes, media types, problem documents, API credentials."""
