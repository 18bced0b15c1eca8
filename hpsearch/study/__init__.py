"""The study: a spec and a database become a finished study."""
