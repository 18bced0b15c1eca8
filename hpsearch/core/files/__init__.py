"""Files in general: locks, mounted file systems, private temporary folders, and regular files."""
