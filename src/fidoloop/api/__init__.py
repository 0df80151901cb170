"""The public API: the modules of this package, and in each of them the names in its `__all__` (docs/library.md).

Everything else in fidoloop is private, and may change without notice.
"""
