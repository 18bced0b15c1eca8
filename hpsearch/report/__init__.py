"""Reports: a study as text, tables, JSON, CSV, one HTML file, and the live view."""
