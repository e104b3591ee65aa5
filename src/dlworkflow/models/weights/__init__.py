"""Files of weights: reading and writing them, published ones, and models that are built to fit them."""
