"""Reading of text files with a table: opening, encoding, layout, numbers, and the rows chunk by chunk."""
