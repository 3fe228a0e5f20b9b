"""Certificates: the operator's own files, those ordered by ACME, self-signed ones, and where they are kept."""
