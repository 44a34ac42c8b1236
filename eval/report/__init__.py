"""One page that a person can read: what was run, what came out, and how far to trust it."""
