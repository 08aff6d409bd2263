from . import categorical as categorical
from . import reparam as reparam
