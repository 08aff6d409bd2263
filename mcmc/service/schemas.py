"""Schemas of requests and answers, as OpenAPI describes them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)] | None
Status = Literal["running", "finished", "interrupted", "failed"]
NonFinite = Annotated[
    dict[str, Literal["nan", "inf", "-inf"]], Field(description="Which numbers are null because they are not finite.")
]


class Error(BaseModel):
    """The form of every answer from status 400 on."""

    model_config = ConfigDict(extra="allow")
    code: str = Field(description="What went wrong, as a code to test for.", examples=["limit_exceeded"])
    message: str = Field(description="What went wrong and what to do, as text.")
    what: str | None = Field(
        None, description="Of a refusal for size, time or room: which limit.", examples=["elements"]
    )
    limit: float | None = Field(None, description="... and how much it allows.")


class Check(BaseModel):
    """One question put to the draws, and the answer."""

    code: str
    severity: Literal["error", "warning", "info"]
    passed: bool | None = Field(description="null where the check could not be made")
    message: str
    value: float | None
    threshold: float | None
    parameters: list[str]
    chains: list[str]
    advice: str
    call: str = Field("", description="the Python call to make next, where one is known to help")
    groups: list[dict[str, Any]] = Field([], description="of the check `modes`, the chains that sit together")
    made: bool
    non_finite: NonFinite


class Row(BaseModel):
    """A scalar parameter: mean, sd, r_hat, ess_bulk, ... as `mcmc.summary` has them."""

    model_config = ConfigDict(extra="allow")
    parameter: str
    non_finite: NonFinite


class Verdict(BaseModel):
    """May these draws be used, and why not."""

    ok: bool
    verdict: str = Field(examples=["Good: every check made passed (4 chains x 1000 draws, 3 parameters)."])
    chains: int
    draws: int
    quick: bool
    has_non_finite: bool
    next_step: dict[str, str] | None = Field(None, description="what to do first: check, seen, cause, call")
    checks: list[Check]
    table: list[Row] = []
    notices: list[str] = Field(description="What the reader noticed, such as draws that were left out.")
    understood: str = Field("", description="What was taken from the files, and as what, in one line.")


class Job(BaseModel):
    """A job and, once it is done, its verdict."""

    id: str
    status: Literal["queued", "running", "done", "failed"]
    created: float = Field(description="seconds since 1970, as the other times")
    started: float | None
    finished: float | None
    result: Verdict | None
    error: Error | None


class Thresholds(BaseModel):
    """What a verdict holds the numbers against by default."""

    rhat: float = Field(examples=[1.01])
    ess: float = Field(examples=[400.0])
    ebfmi: float = Field(examples=[0.3])


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"]
    version: str


class Update(BaseModel):
    """Where a run stands after a chunk; the fields of `mcmc.engine.progress.Update`."""

    model_config = ConfigDict(extra="ignore")
    phase: Literal["warmup", "sampling"]
    done: Count
    total: Count | None = None
    chains: Annotated[int, Field(ge=1, le=2**31)]
    elapsed: Annotated[float, Field(ge=0, le=1e12)]
    acceptance: float | None = None
    divergences: Count = 0
    rhat: float | None = None
    ess: float | None = None


class Block(BaseModel):
    """The next draws of every chain: as lists (`values`), or as numbers in base64 with `shape` and `dtype`."""

    model_config = ConfigDict(extra="forbid")
    names: Annotated[list[Name], Field(min_length=1, max_length=10_000, examples=[["mu", "tau"]])]
    values: list[list[list[float | None]]] | None = Field(
        None, description="(chain, draw, parameter)", examples=[[[[0.1, 1.2], [0.3, 0.9]], [[0.2, 1.0], [0.4, 1.1]]]]
    )
    base64: str | None = Field(None, description="little-endian numbers, in C order")
    shape: Annotated[list[Count], Field(min_length=3, max_length=3)] | None = None
    dtype: Literal["float32", "float64"] = "float64"


class Parameter(BaseModel):
    """A parameter so far, from the draws."""

    parameter: Name
    mean: Number
    sd: Number
    r_hat: Number
    ess: Number
    non_finite: Annotated[
        dict[Literal["mean", "sd", "r_hat", "ess"], Literal["nan", "inf", "-inf"]],
        Field(description="Which numbers are null because they are not finite."),
    ] = {}


class Blocks(BaseModel):
    """What a run reports: updates, draws, or its own statistics of them. Another `session` begins the run anew."""

    model_config = ConfigDict(extra="forbid")
    session: Annotated[str, Field(max_length=64)] | None = None
    title: Annotated[str, Field(max_length=200)] | None = None
    updates: Annotated[list[Update], Field(max_length=1000)] = []
    draws: Block | None = None
    parameters: Annotated[list[Parameter], Field(max_length=200)] | None = Field(
        None, description="the worst parameters, where the run computes them itself"
    )
    parameters_in_all: Count = 0
    status: Status | None = Field(
        None, description="null: a run is finished when it has done as many iterations as it said there are"
    )
    why: Annotated[str, Field(max_length=1000)] = Field("", description="why it ended")


class Point(BaseModel):
    """A run at one time."""

    seconds: float
    draws: int
    rhat: float | None
    ess: float | None
    divergences: int


class Run(BaseModel):
    """A live run: where it stands, how it came there, and its worst parameters."""

    id: str
    title: str
    status: Status
    why: str = Field(description="why it ended, as the run says it")
    silent_seconds: float = Field(description="since the run last reported")
    phase: Literal["warmup", "sampling"]
    done: int
    total: int | None
    chains: int
    draws: int = Field(description="kept so far, of all chains")
    elapsed: float
    acceptance: float | None
    divergences: int
    rhat: float | None = Field(description="the worst of any parameter")
    ess: float | None = Field(description="the smallest of any parameter")
    non_finite: NonFinite
    history: list[Point]
    parameters: list[Parameter]
    parameters_in_all: int


class Runs(BaseModel):
    """The runs that the server knows."""

    runs: list[str]


class Accepted(BaseModel):
    """The report was taken in."""

    id: str
    draws: int


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The request can't be read."},
    401: {"model": Error, "description": "No token, or a wrong one."},
    403: {"model": Error, "description": "From another host or site."},
    404: {"model": Error, "description": "There is no such thing."},
    408: {"model": Error, "description": "The request came too slowly."},
    413: {"model": Error, "description": "More than the server's limits allow."},
    415: {"model": Error, "description": "Not a form of request that is known."},
    422: {"model": Error, "description": "The draws or parameters are not what they should be."},
    429: {"model": Error, "description": "No room now: try again after Retry-After seconds."},
    500: {"model": Error, "description": "A fault in the server, with an id for its log."},
    503: {"model": Error, "description": "The server is closing, or its disk is full."},
}


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """These of the errors, with those that any request may get."""
    return {code: ERRORS[code] for code in (400, 401, 403, 422, 500, *codes)}
