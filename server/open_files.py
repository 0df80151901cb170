"""How many files this process may have open, and how many connections that leaves."""

import logging
import resource

RESERVED = 64
"""Files that are no clients' connections: the database's, logs, settings, keys, and what libraries open."""
_log = logging.getLogger("fidoloop.server")


def most_connections(wanted: int) -> int:
    """Return how many connections there can be, `wanted` at most; this process' limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    most = max(1, soft - RESERVED)
    _log.warning("%d files may be open, so each worker has %d connections at most, not %d", soft, most, wanted)
    return most
