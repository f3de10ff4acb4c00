"""Running searches: one seed, many seeds, and what is kept of them."""
