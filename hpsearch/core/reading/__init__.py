"""Reading from files and servers that may have no end."""
