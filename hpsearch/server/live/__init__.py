"""The state of running studies, read once and encoded once for however many clients.

- `content`: studies and trials as JSON.
- `journal`: what has happened to a study, as server-sent events in a file.
- `reader`: reads what is new in a study database.
- `views`: keeps what was read, and decides when to read again.
"""
