"""Key stores behind a PKCS#11 module, through python-pkcs11 made safe for threads and fork."""
