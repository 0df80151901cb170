"""What sits in the phone: the UAF authenticator, its ASM, its models (AAIDs) and user verification."""
