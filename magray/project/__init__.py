"""Run the stages of a project: simulate, fit, study, estimate, report."""
