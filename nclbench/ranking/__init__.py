"""From scores to integers: how many items beat a pair, how many tie with it, the best of each row."""
