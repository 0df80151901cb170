"""The phone app and the laptop: channels, decryption, redemption, the FIDO UAF client."""
