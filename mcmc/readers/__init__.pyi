from .limits import LimitError as LimitError
from .limits import Limits as Limits
from .limits import ReadError as ReadError
from .limits import ReadWarning as ReadWarning
from .reading import FORMATS as FORMATS
from .reading import format_of as format_of
from .reading import read as read
