"""Analysis of networks: weight statistics, histograms, bias and variance, gradient checks, range tests."""
