"""Test estimators on films they have never seen, at scales they were and were not trained on."""
