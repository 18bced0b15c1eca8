"""Storage: the study database.

The modules in the order of their imports:

- `sqlite_file`, `database`: files, URLs and errors.
- `tables`, `connection`: the tables, and an open database.
- `snapshot`, `lease`: read-only access to one moment, and the right to write.
- `records`: the types of trials and other stored content.
- `trials`, `study_tables`: objects that read and write the tables.
- `optuna_mirror`: finished trials in Optuna's own tables.
- `study_db`: `StudyDatabase`, which composes the others.
"""
