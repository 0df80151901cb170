"""What a TPM 2.0 does beyond PKCS#11: it attests keys. Spoken to in its own commands, through the TSS's transport."""
