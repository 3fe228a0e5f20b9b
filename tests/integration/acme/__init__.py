"""Certificate authorities to talk to, and a server they can look at."""
