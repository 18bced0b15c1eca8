"""The HTML report: its content, its charts, the page and the PNG files."""
