"""The measures of the architecture that was found: trivial answers, and other networks."""
