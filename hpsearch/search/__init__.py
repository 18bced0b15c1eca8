"""Search: what to try next, which trials continue, which one won."""
