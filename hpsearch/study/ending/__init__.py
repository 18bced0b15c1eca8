"""Steps after the last stage of a study."""
