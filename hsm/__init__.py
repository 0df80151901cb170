"""Key hardware: a key store per kind of device, one interface, opened by URI."""
