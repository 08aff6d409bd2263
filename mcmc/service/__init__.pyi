from .answers import Job as Job
from .answers import Verdict as Verdict
from .client import Client as Client
from .client import ServiceError as ServiceError
from .live_client import RunReporter as RunReporter
from .serving import create_app as create_app
from .serving import serve as serve
from .settings import Settings as Settings
