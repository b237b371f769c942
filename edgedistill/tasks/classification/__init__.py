"""What tasks share whose output is a score for each class: metrics, calibration, sections of the report."""
