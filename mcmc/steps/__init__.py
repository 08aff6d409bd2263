"""How a draw is made, step by step: plain arrays of what a sampler did, and pictures of them."""
