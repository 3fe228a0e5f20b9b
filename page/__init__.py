"""What the bundled page takes from others, and how it gets there."""
