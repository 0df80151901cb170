"""Whatever the loop sends, signs or stores, as an annotated tree: for people who look, never for a decision."""
