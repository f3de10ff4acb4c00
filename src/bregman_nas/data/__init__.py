"""The image data: raw files."""
