"""Certificates: the operator's own files, self-signed ones for local names, and where they are kept."""
