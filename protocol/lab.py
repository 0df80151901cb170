"""Values of the lab that server and phone must share, each defined once."""

LAB_FACET_ID = "android:apk-key-hash:AwTe6K1aJ41XtJV8pwp+c5qEP9A"
"""FacetID of the lab phone: base64 SHA-1 of its (imaginary) signing certificate, no padding (digest section 4).

Not a web facet, so that the list of trusted facets at the AppID is really fetched.
"""
