"""How far an estimator may be trusted: its errors on films it never saw, at scales it was and was not trained on."""
