"""What every room may use to write: files and folders that are there whole or not at all."""
