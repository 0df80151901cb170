"""PIV cards over PC/SC (NIST SP 800-73-4)."""
