"""The services described to machines (OpenAPI 3.1) and to people, from the table of routes and the messages' types."""
