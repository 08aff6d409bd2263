# Writes posterior.csv: what the R package posterior says of arrays made by the recipe that test_posterior.py repeats.
#   Rscript posterior.R > posterior.csv
# Every draw is made of whole numbers below 2^53 and + - * / sqrt, so that R and NumPy make the same bits.
suppressMessages(library(posterior))

uniforms <- function(n, seed) {  # the generator of Lehmer: s = 16807 s mod (2^31 - 1)
  out <- numeric(n)
  s <- seed
  for (i in seq_len(n)) out[i] <- s <- (16807 * s) %% 2147483647
  out / 2147483647
}
bell <- function(draws, chains, seed) {  # sums of four uniforms, less 2: a matrix (draw, chain)
  u <- matrix(uniforms(4 * draws * chains, seed), nrow = 4)
  matrix(u[1, ] + u[2, ] + u[3, ] + u[4, ] - 2, nrow = draws)
}
ar <- function(rho, draws, chains, seed) {
  x <- bell(draws, chains, seed)
  for (t in 2:draws) x[t, ] <- rho * x[t - 1, ] + x[t, ]
  x
}
heavy <- function(draws, chains, seed) {
  u <- matrix(uniforms(draws * chains, seed), nrow = draws)
  (2 * u - 1) / (u * (1 - u))
}
unequal <- function() {
  x <- ar(0.5, 200, 4, 15)
  x[, 3] <- 2 * x[, 3]
  x[, 4] <- x[, 4] + 1
  x
}
cases <- list(
  independent = bell(250, 4, 11), ar9 = ar(0.9, 500, 4, 12), antithetic = ar(-0.7, 300, 4, 13),
  heavy = heavy(200, 4, 14), unequal = unequal(), ties = floor(5 * ar(0.8, 300, 4, 16)),
  binary = 1 * (ar(0.8, 200, 4, 17) > 0.5), odd = ar(0.6, 301, 3, 18), odd_halves = ar(0.6, 302, 4, 19),
  one_chain = ar(0.7, 400, 1, 20), many_chains = ar(0.9, 40, 64, 21), large_mean = bell(100, 4, 22) + 1048576,
  tiny = bell(100, 4, 23) / 1048576, short = bell(12, 4, 24), walk = ar(1, 400, 4, 25),
  constant = matrix(2.5, 100, 4)
)
nested <- function(x, ids) {  # as posterior documents rhat_nested, which 1.4.0 does not have yet
  superchains <- unique(ids)
  mean_of <- sapply(superchains, function(k) mean(x[, ids == k]))
  within <- sapply(superchains, function(k) mean(apply(x[, ids == k], 2, var)) + var(colMeans(x[, ids == k])))
  sqrt(1 + var(mean_of) / mean(within))
}
numbers <- function(x) {
  half <- nrow(x) / 2
  even <- x[c(1:floor(half), ceiling(half + 1):nrow(x)), , drop = FALSE]  # ArviZ folds without an odd middle draw
  squares <- (x - mean(x))^2
  found <- c(
    rhat = rhat(even), rhat_bulk = rhat_basic(z_scale(even)), rhat_basic = rhat_basic(x),
    rhat_unsplit = rhat_basic(x, split = FALSE), ess_basic = ess_basic(x), ess_unsplit = ess_basic(x, split = FALSE),
    ess_bulk = ess_bulk(x), ess_tail = ess_tail(x), ess_mean = ess_mean(x), ess_sd = ess_sd(x),
    ess_squares = ess_mean(squares), ess_median = ess_quantile(x, 0.5, names = FALSE),
    ess_q10 = ess_quantile(x, 0.1, names = FALSE), ess_q95 = ess_quantile(x, 0.95, names = FALSE),
    mcse_mean = mcse_mean(x), mcse_sd = mcse_sd(x), mcse_median = mcse_quantile(x, 0.5, names = FALSE),
    mcse_q10 = mcse_quantile(x, 0.1, names = FALSE), mcse_q95 = mcse_quantile(x, 0.95, names = FALSE)
  )
  if (ncol(x) %% 4 == 0) found["rhat_nested"] <- nested(x, rep(1:(ncol(x) / 2), each = 2))
  found
}
cat("# posterior ", format(packageVersion("posterior")), ", ", R.version.string, "\n", sep = "")
for (case in names(cases)) {
  found <- suppressWarnings(numbers(cases[[case]]))
  found[is.na(found)] <- NaN
  cat(sprintf("%s,%s,%.17g\n", case, names(found), found), sep = "")
}
