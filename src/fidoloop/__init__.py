"""fidoloop: the mobile / laptop / server login loop of FIDO UAF with real key hardware, on one machine."""

__version__ = "0.1.0"
