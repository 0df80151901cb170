"""The lab console: what happens on a server, message by message, for teaching and testing. Off unless asked for."""
