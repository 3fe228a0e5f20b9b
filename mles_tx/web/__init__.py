"""The web side: twisted.web resources."""
