"""Storage: the study database, in the order of imports.

sqlite_file, database       files, URLs, errors
tables, connection          our tables; an open database
lease, snapshot             who may write; reading one moment without writing
records                     a trial and what else is stored, as the program sees it
trials, study_tables        the tables, each an object that reads and writes
optuna_mirror               finished trials in Optuna's own tables
study_db                    `StudyDatabase`: all of these on one database
"""
