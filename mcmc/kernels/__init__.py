"""Markov transitions: one algorithm a file, written for one chain (ensemble moves: for all)."""

from mcmc.kernels.differential_evolution import DifferentialEvolution
from mcmc.kernels.direct import Direct
from mcmc.kernels.hmc import HMC
from mcmc.kernels.metropolis import IndependentMetropolis, MetropolisHastings, RandomWalk
from mcmc.kernels.stretch import Stretch

BY_NAME = {kind.__name__: kind for kind in (RandomWalk, HMC, Stretch, DifferentialEvolution)}

__all__ = [
    "BY_NAME",
    "HMC",
    "DifferentialEvolution",
    "Direct",
    "IndependentMetropolis",
    "MetropolisHastings",
    "RandomWalk",
    "Stretch",
]
