"""Markov transitions: one algorithm a file, written for one chain (ensemble moves: for all)."""

from mcmc.kernels.differential_evolution import DifferentialEvolution
from mcmc.kernels.direct import Direct
from mcmc.kernels.discrete import DiscreteGibbs
from mcmc.kernels.gibbs import Gibbs
from mcmc.kernels.hmc import HMC
from mcmc.kernels.mala import MALA
from mcmc.kernels.metropolis import IndependentMetropolis, MetropolisHastings, RandomWalk
from mcmc.kernels.multiscale import Multiscale
from mcmc.kernels.nuts import NUTS
from mcmc.kernels.stretch import Stretch
from mcmc.kernels.tempered import Tempered

KINDS = (RandomWalk, HMC, NUTS, MALA, Multiscale, Stretch, DifferentialEvolution, DiscreteGibbs)
BY_NAME = {kind.__name__: kind for kind in KINDS}

__all__ = [
    "BY_NAME",
    "HMC",
    "MALA",
    "NUTS",
    "DifferentialEvolution",
    "Direct",
    "DiscreteGibbs",
    "Gibbs",
    "IndependentMetropolis",
    "MetropolisHastings",
    "Multiscale",
    "RandomWalk",
    "Stretch",
    "Tempered",
]
