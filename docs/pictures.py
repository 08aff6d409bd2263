"""The pictures of the pages whose code runs, one function a page: it is given the names of the page's program."""

import numpy as np
from matplotlib.figure import Figure
