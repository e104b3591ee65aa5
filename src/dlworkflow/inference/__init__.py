"""Predictions of a finished run or of saved weights: `inputs` reads what a user gave, `predictor` answers."""
