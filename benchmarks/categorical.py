"""Drawing tokens: plain, and with top-p 0.9 or top-k 50 and top-p 0.9, in ms a call, beside a sort.

    uv run python benchmarks/categorical.py [--rows 1 8 64] [--tokens 32768 131072] [--torch-python PYTHON]

Logits are normal with standard deviation 3, float32; one draw a row; every JAX program is compiled before. Rows:
  plain: mcmc                     `categorical.sample`
  plain: jax.random.categorical   its default mode
  plain: torch                    `multinomial` of `softmax`
  top-p: mcmc                     `categorical.sample(top_p=0.9)`
  top-p: sort                     jax: sort, cumulated probabilities, threshold, `jax.random.categorical`
  top-p: torch                    the same with torch's sort and multinomial
  top-k, top-p: mcmc              `categorical.sample(top_k=50, top_p=0.9)`
  top-k, top-p: sort              as above
`outside jit`: `categorical.sample(top_p=0.9)` called from Python, with its checks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import common
import numpy as np

SCALE, TOP_P, TOP_K = 3.0, 0.9, 50
OURS, PEER, TORCH = "mcmc", "sort", "torch"
PLAIN, P, K_P = "plain", "top-p", "top-k, top-p"
ORDER = (
    (PLAIN, OURS),
    (PLAIN, "jax.random.categorical"),
    (PLAIN, TORCH),
    (P, OURS),
    (P, "mcmc, outside jit"),
    (P, PEER),
    (P, TORCH),
    (K_P, OURS),
    (K_P, PEER),
)


def main():
    options = parse()
    rows = []
    for tokens in options.tokens:
        for count in options.rows:
            print(f"{count} rows of {tokens:,} tokens ...", file=sys.stderr, flush=True)
            found = in_jax(count, tokens, options.repeats) | in_torch(options, count, tokens)
            for task, how in ORDER:
                value = found[task, how]
                row = {"what": f"{task}: {how}", "rows": count, "tokens": tokens}
                rows.append({**row, **({"note": value} if isinstance(value, str) else {"ms": value})})
    ratios = compare(rows)
    about = f"one draw a row, ms a call, medians of {options.repeats}"
    path = common.save(options.out, about, rows, ratios=ratios)
    print_tables(rows, ratios)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", help="rows of a batch")
    parser.add_argument("--tokens", type=int, nargs="+", help="tokens of a row")
    parser.add_argument("--repeats", type=int, default=15, help="calls of each case; the median counts")
    parser.add_argument("--quick", action="store_true", help="a check that it works: few tokens, two calls")
    parser.add_argument("--torch-python", default=sys.executable, help="the interpreter that has torch")
    parser.add_argument("--out", default=str(common.RESULTS / "categorical.json"))
    parser.add_argument("--torch-only", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.repeats = 2
    options.rows = options.rows or ([1, 4] if options.quick else [1, 8, 64])
    options.tokens = options.tokens or ([5000] if options.quick else [32_768, 131_072])
    if options.torch_only:
        print(json.dumps(torch_calls(*options.torch_only, options.repeats)))
        sys.exit()
    return options


def logits_of(count, tokens):
    return (np.random.default_rng(0).normal(size=(count, tokens)) * SCALE).astype(np.float32)


def sort_and_draw(key, x, top_k=None):
    """The usual way: sort, cut off, and draw with Gumbel noise."""
    import jax
    import jax.numpy as jnp

    falling = -jnp.sort(-x, axis=-1)
    if top_k is not None:
        x = jnp.where(x >= falling[:, top_k - 1 : top_k], x, -jnp.inf)
        falling = falling.at[:, top_k:].set(-jnp.inf)
    p = jax.nn.softmax(falling, axis=-1)
    before = jnp.cumsum(p, axis=-1) - p
    last = jnp.min(jnp.where(before < TOP_P, falling, jnp.inf), axis=-1, keepdims=True)
    return jax.random.categorical(key, jnp.where(x >= last, x, -jnp.inf))


def in_jax(count, tokens, repeats):
    """Milliseconds by task and way."""
    import jax

    from mcmc.direct import categorical

    key, x = jax.random.key(0), jax.numpy.asarray(logits_of(count, tokens))
    calls = {
        (PLAIN, OURS): jax.jit(categorical.sample),
        (PLAIN, "jax.random.categorical"): jax.jit(jax.random.categorical),
        (P, OURS): jax.jit(lambda k, x: categorical.sample(k, x, top_p=TOP_P)),
        (P, "mcmc, outside jit"): lambda k, x: categorical.sample(k, x, top_p=TOP_P),
        (P, PEER): jax.jit(sort_and_draw),
        (K_P, OURS): jax.jit(lambda k, x: categorical.sample(k, x, top_p=TOP_P, top_k=TOP_K)),
        (K_P, PEER): jax.jit(lambda k, x: sort_and_draw(k, x, TOP_K)),
    }
    found = {}
    for name, call in calls.items():
        slow = count * tokens > 1_000_000 and name[1] == PEER
        seconds = common.median_seconds(
            lambda call=call: jax.block_until_ready(call(key, x)), min(repeats, 5) if slow else repeats
        )
        found[name] = 1e3 * seconds
    return found


def in_torch(options, count, tokens):
    """torch's milliseconds, measured in its interpreter; a note where it is not installed or fails."""
    if not common.installed(options.torch_python, TORCH):
        return {(PLAIN, TORCH): "not installed", (P, TORCH): "not installed"}
    command = [options.torch_python, __file__, "--torch-only", str(count), str(tokens)]
    done = subprocess.run([*command, "--repeats", str(options.repeats)], capture_output=True, text=True)
    if done.returncode:
        note = "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1][:100]
        return {(PLAIN, TORCH): note, (P, TORCH): note}
    plain, top_p = json.loads(done.stdout.splitlines()[-1])
    return {(PLAIN, TORCH): plain, (P, TORCH): top_p}


def torch_calls(count, tokens, repeats):
    """Milliseconds of multinomial, and of sort, threshold and multinomial."""
    import torch

    x = torch.tensor(logits_of(count, tokens))

    def plain():
        return torch.multinomial(torch.softmax(x, -1), 1)

    def top_p():
        p, index = torch.sort(torch.softmax(x, -1), descending=True)
        p[torch.cumsum(p, -1) - p >= TOP_P] = 0
        return index.gather(-1, torch.multinomial(p, 1))

    return [1e3 * common.median_seconds(call, repeats) for call in (plain, top_p)]


def compare(rows):
    """How many times as long the others take."""
    by = {(row["what"], row["rows"], row["tokens"]): row.get("ms") for row in rows}

    def ratio(task, other, case):
        theirs = by[f"{task}: {other}", *case]
        return theirs / by[f"{task}: {OURS}", *case] if theirs else None

    return [
        {
            "rows": case[0],
            "tokens": case[1],
            "plain: jax / ours": ratio(PLAIN, "jax.random.categorical", case),
            "plain: torch / ours": ratio(PLAIN, TORCH, case),
            "top-p: sort / ours": ratio(P, PEER, case),
            "top-p: torch / ours": ratio(P, TORCH, case),
            "top-k, top-p: sort / ours": ratio(K_P, PEER, case),
        }
        for case in dict.fromkeys((row["rows"], row["tokens"]) for row in rows)
    ]


def print_tables(rows, ratios):
    cases = [(row["rows"], row["tokens"]) for row in ratios]
    by = {(row["what"], row["rows"], row["tokens"]): row.get("note") or common.number(row["ms"]) for row in rows}
    header = ["", *(f"{count} x {tokens:,}" for count, tokens in cases)]
    names = [f"{task}: {how}" for task, how in ORDER]
    common.show("Drawing a token a row, ms", header, [[name, *(by[name, *case] for case in cases)] for name in names])
    names = [name for name in ratios[0] if name not in ("rows", "tokens")]
    common.show("Ratios", header, [[name, *(common.number(row[name]) for row in ratios)] for name in names])


if __name__ == "__main__":
    main()
