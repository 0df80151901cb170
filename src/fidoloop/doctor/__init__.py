"""What this machine has of what the loop needs, and how to get the rest."""
