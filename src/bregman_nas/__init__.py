"""A reproducibility study of "Neural Architecture Search via Bregman Iterations" (2021)."""
