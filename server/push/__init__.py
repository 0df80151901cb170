"""What the push dispatchers share: the way out to push services, repeated attempts, and this server's VAPID key."""
