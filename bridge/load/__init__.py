"""Load: simulated phones and laptops against a server, which is measured and sees what many of them are like."""
