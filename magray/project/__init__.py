"""Run the stages of a project: plan, simulate, fit, study, estimate, report."""
