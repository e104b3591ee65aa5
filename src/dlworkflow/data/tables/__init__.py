"""Tables of numbers and categories in CSV files: reading, what each column is, splits, a baseline; knows no model."""
