#!/bin/sh
# Fits y = w*x by gradient descent, in awk. Arguments: learning rate, step to reach, checkpoint.
rate=$1 to=$2 checkpoint=$3
step=0 w=0
if [ -s "$checkpoint" ]; then read -r step w < "$checkpoint"; fi
awk -v rate="$rate" -v to="$to" -v step="$step" -v w="$w" -v checkpoint="$checkpoint" '
BEGIN {
    n = split("-1 -0.5 0.25 0.75 1", x); split("-2.1 -0.9 0.6 1.4 2.05", y)
    while (step < to) {
        gradient = 0; loss = 0
        for (i = 1; i <= n; i++) gradient += 2 * (w * x[i] - y[i]) * x[i] / n
        w -= rate * gradient; step++
        for (i = 1; i <= n; i++) loss += (w * x[i] - y[i]) ^ 2 / n
        printf "{\"epoch\": %d, \"val/loss\": %.17g}\n", step, loss
    }
    printf "%d %.17g\n", step, w > checkpoint
}'
