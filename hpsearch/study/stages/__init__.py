"""The stages of a running study."""
