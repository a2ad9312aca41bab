"""Networks applied: probabilities and what is made of them."""
