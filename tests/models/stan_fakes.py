"""Stan programs by the protocols of bridgestan and PyStan, in NumPy; gradients by hand or by complex steps."""

from types import SimpleNamespace

import numpy as np

Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
COUNTS, CENTRES = np.array([8.0, 2.0, 5.0]), np.array([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]])


class Schools:
    """real mu; real<lower=0> tau; vector[8] z; theta = mu + tau * z; y_rep by normal_rng."""

    parameters, transformed, generated = {"mu": (), "tau": (), "z": (8,)}, {"theta": (8,)}, {"y_rep": (8,)}
    dim = 10

    def constrain(self, y):
        return {"mu": y[0], "tau": np.exp(y[1]), "z": y[2:]}, y[1]

    def unconstrain(self, p):
        return np.array([p["mu"], np.log(p["tau"]), *p["z"]])

    def lp(self, p):
        prior = -0.5 * (p["mu"] / 5) ** 2 - np.log1p((p["tau"] / 5) ** 2) - 0.5 * np.sum(p["z"] ** 2)
        return prior - 0.5 * np.sum(((Y - p["mu"] - p["tau"] * p["z"]) / SIGMA) ** 2)

    def gradient(self, y):
        mu, tau, z = y[0], np.exp(y[1]), y[2:]
        pull = (Y - mu - tau * z) / SIGMA**2
        of_tau = -2 * tau / (25 + tau**2) + np.sum(pull * z)
        return np.array([np.sum(pull) - mu / 25, tau * of_tau + 1, *(tau * pull - z)])

    def more(self, p):
        return {"theta": p["mu"] + p["tau"] * p["z"]}

    def draw(self, p, rng):
        return {"y_rep": p["mu"] + p["tau"] * p["z"] + SIGMA * rng.normal(size=8)}


class Arrays:
    """simplex[3] share ~ dirichlet(1) with counts; matrix[2, 3] x ~ normal(centres, 0.5); real<upper=x[1, 1]> below.

    Of `below` the density is exp(below - x[1, 1]).
    """

    parameters, transformed, generated = {"share": (3,), "x": (2, 3), "below": ()}, {"total": (2,)}, {"flat": (1, 2)}
    dim = 2 + 6 + 1

    def constrain(self, y):
        weight = np.exp(np.array([y[0], y[1], 0.0 * y[0]]))  # a softmax with a last weight of one
        share = weight / weight.sum()
        x = y[2:8].reshape(3, 2).T  # column by column
        return {"share": share, "x": x, "below": x[0, 0] - np.exp(y[8])}, np.sum(np.log(share)) + y[8]

    def unconstrain(self, p):
        share, x = p["share"], p["x"]
        return np.array([*np.log(share[:2] / share[2]), *x.T.ravel(), np.log(x[0, 0] - p["below"])])

    def lp(self, p):
        chance = np.sum(COUNTS * np.log(p["share"])) + p["below"] - p["x"][0, 0]
        return chance - 0.5 * np.sum(((p["x"] - CENTRES) / 0.5) ** 2)

    def more(self, p):
        return {"total": np.sum(p["x"], 1)}

    def draw(self, p, rng):
        return {"flat": p["x"][:1, :2] + 0 * rng.normal()}


def names(shapes):
    """Names of entries as Stan has them: column by column, from one."""
    for name, shape in shapes.items():
        for index in np.ndindex(shape[::-1]):
            yield ".".join([name, *(str(i + 1) for i in reversed(index))])


def entries(values, shapes):
    return np.concatenate([np.asarray(values[name]).T.ravel() for name in shapes])


class Bridge:
    """The protocol of `bridgestan.StanModel`."""

    def __init__(self, program, rejects=lambda p: False):
        self.program, self.rejects, self.calls = program, rejects, 0

    def _shapes(self, include_tp, include_gq):
        of = self.program
        return {**of.parameters, **(of.transformed if include_tp else {}), **(of.generated if include_gq else {})}

    def param_names(self, *, include_tp=False, include_gq=False):
        return [*names(self._shapes(include_tp, include_gq))]

    def param_unc_num(self):
        return self.program.dim

    def param_constrain(self, theta_unc, *, include_tp=False, include_gq=False, out=None, rng=None):
        if include_gq and rng is None:
            raise ValueError("must specify rng when including generated quantities")
        p, _ = self.program.constrain(theta_unc)
        more = {**self.program.more(p), **(self.program.draw(p, rng) if include_gq else {})}
        return entries({**p, **more}, self._shapes(include_tp, include_gq))

    def param_unconstrain(self, theta):
        p, at = {}, 0
        for name, shape in self.program.parameters.items():
            size = int(np.prod(shape))
            p[name] = theta[at : at + size].reshape(shape[::-1]).T
            at += size
        return self.program.unconstrain(p)

    def new_rng(self, seed):
        return np.random.default_rng(seed)

    def log_density_gradient(self, theta_unc, *, propto=True, jacobian=True, out=None):
        self.calls += 1
        if self.rejects(self.program.constrain(theta_unc)[0]):
            raise RuntimeError("Exception: reject() was called")
        return self.value(theta_unc).real, self.gradient(theta_unc)

    def value(self, y):
        p, log_jacobian = self.program.constrain(y)
        return self.program.lp(p) + log_jacobian

    def gradient(self, y):
        if hasattr(self.program, "gradient"):
            return self.program.gradient(y)
        return np.array([self.value(y + 1e-30j * e).imag / 1e-30 for e in np.eye(len(y))])


def pystan(program, code="generated quantities { }"):
    """A model as `stan.build` gives it, and the compiled module that httpstan has of it."""
    bridge = Bridge(program)
    model = SimpleNamespace(
        program_code=code,
        model_name="models/fake",
        data={},
        constrained_param_names=tuple(bridge.param_names(include_tp=True, include_gq=True)),
        log_prob=None,
        grad_log_prob=None,
        constrain_pars=None,
    )

    def checked(function):
        def call(data, y, *more):
            if len(y) != program.dim:
                raise RuntimeError("The number of parameters does not match the number of unconstrained parameters.")
            return function(np.asarray(y), *more)

        return call

    def write(y, include_tparams, include_gqs):
        rng = np.random.default_rng(0)  # the same at each call, as httpstan has it
        made = bridge.param_constrain(y, include_tp=include_tparams, include_gq=include_gqs, rng=rng)
        return [*made]

    services = SimpleNamespace(
        log_prob=checked(lambda y, adjust: float(bridge.value(y).real)),
        log_prob_grad=checked(lambda y, adjust: [*bridge.gradient(y)]),
        write_array=checked(write),
        transform_inits=lambda data, p: [*program.unconstrain({k: np.asarray(v) for k, v in p.items()})],
    )
    return model, services
