"""Maintenance of an installation: doctor, MLflow UI, sync, upgrades."""
