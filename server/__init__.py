"""The relying party: UAF and out-of-band services over HTTP, dispatchers, the store, operators' functions."""
