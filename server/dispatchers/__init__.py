"""Dispatchers: how a token's payload reaches the phone. One file each, all of one shape."""
