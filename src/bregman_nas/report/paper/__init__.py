"""The study as an article: its numbers, from generated files alone, and the PDF."""
