"""A compatibility profile for Janssen's first-party demo app "chip", off by default (OAuth contract 5.4).

Services of their own, so that no other client is treated more laxly for it: keys in a JSON text, proofs for the issuer,
bearer tokens at the userinfo endpoint, and a credential enrolled from the address that the password came from.
"""
